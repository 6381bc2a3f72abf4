"""Files, names and addresses of others are data: each reader answers in one line, or leaves a file out and says so."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nasray
from nasray import registry
from nasray.cli import main
from nasray.errors import InvalidInput
from nasray.methods.random import Random
from nasray.runs import EVALUATIONS, open_storage, read, write_row
from nasray.spaces import parse_architecture
from nasray.sweeps import Arm, EvaluationSettings, Sweep, Training
from nasray.sweeps.run import read_run
from nasray.tabular import read_table
from nasray.trials.search_config import SearchConfig
from nasray.trials.trial import path_part

ROOT = Path(nasray.__file__).parent
SECRET = "canary-7f3a-secret"


def one_line(error: BaseException) -> str:
    text = str(error)
    assert text
    assert "\n" not in text
    assert len(text) < 2000
    return text


# --- no pickle -------------------------------------------------------------------------------------------------------

LOADERS = {"load", "loads", "read_pickle", "Unpickler", "eval", "exec", "compile", "literal_eval", "execfile"}
"""Last names of what could run, or build objects from, what it reads."""


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_no_pickle_is_read_by_our_code() -> None:
    seen = set()
    for path in [*ROOT.rglob("*.py"), *(ROOT.parent / "search_spaces").rglob("*.py")]:
        source = path.read_text()
        for name in ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "yaml"):
            # joblib counts a machine's cores.
            if name != "joblib":
                assert f"import {name}" not in source, f"{path} imports {name}"
        for name, call in calls(path):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert given.get("allow_pickle", "False") == "False", f"{path}:{call.lineno}"
            if name.rpartition(".")[2] not in LOADERS or (name.endswith(".eval") and not call.args):  # of a network
                continue
            seen.add(name)
            if name == "torch.load":
                assert given.get("weights_only") == "True", f"{path}:{call.lineno}"
            else:
                # JSON; an entry point of an installed package; a regular expression; tensors and arrays without code;
                # our tables; lists and texts of a genotype that was printed.
                known = (
                    "ast.literal_eval",
                    "json.loads",
                    "json.load",
                    "entries[name].load",
                    "np.load",
                    "re.compile",
                    "safetensors.torch.load",
                    "load",
                )
                assert name in known, f"{path}: {name}"
    assert {"torch.load", "json.loads"} <= seen


def test_a_table_cannot_name_code_that_is_run(tmp_path: Path, row: dict[str, Any]) -> None:
    harm = tmp_path / "harm.py"
    harm.write_text(f"open({str(tmp_path / 'harmed')!r}, 'w')\nSPACE = 1\n")
    run = open_storage(tmp_path / "run")
    run.write_json("run.json", {"reference": [1.0, 0.1]})
    write_row(run, EVALUATIONS, {**row, "space": f"{harm}:SPACE", "method": f"{harm}:SPACE"})
    plot = ["--plot", str(tmp_path / "front.svg")]
    for more in ([], ["--references", "all"], plot, ["--repeats", "seeds"], ["--only", "learning_rate=1"], ["--json"]):
        with contextlib.suppress(SystemExit):
            assert main(["front", str(tmp_path / "run"), *more]) in (0, 2)
    nasray.load(tmp_path / "run")
    assert not (tmp_path / "harmed").exists()


# --- names -----------------------------------------------------------------------------------------------------------

OUTSIDE = ["../x", "/etc/x", "a/../../x", "..", ".", "", "a//b", "a\0b", "a\nb", "a\rb", "\x1b[2J"]


@pytest.mark.parametrize(
    "name", [*OUTSIDE, "..\\x", "a\\b", ".hidden", "x" * 300, "a\u202eb", "\ud800", " a", "a\u2028b"]
)
def test_a_run_s_name_is_one_folder_that_looks_like_what_it_is(name: str, sweep: Sweep) -> None:
    with pytest.raises(InvalidInput, match="expected the name of one folder") as caught:
        dataclasses.replace(sweep, name=name)
    one_line(caught.value)


@given(st.text(max_size=30))
def test_no_name_leaves_the_storage(name: str) -> None:
    for where in ("mock:///bucket/run", "/nowhere/run"):
        storage = open_storage(where)
        try:
            child = storage.child(name)
        except InvalidInput as error:
            one_line(error)
            continue
        assert os.path.normpath(child.base).startswith(storage.base + "/")
        # And so it is where its string is opened again, in another process.
        with contextlib.suppress(UnicodeEncodeError):
            name.encode()
            again = open_storage(str(child))
            assert again.base == (child.base if "://" in where else os.path.normpath(child.base))


@pytest.mark.parametrize("name", ["%2e%2e", "%2e%2e%2fx", "a?b=c", "a#b", "a b", "ä", "?region=x"])
def test_a_name_means_the_same_in_a_uri(name: str) -> None:
    for where in ("mock:///bucket/run", "file:///nowhere/run", "s3://bucket/run?region=eu-central-1"):
        child = open_storage(where).child(name)
        assert open_storage(str(child)).base == child.base == f"{open_storage(where).base}/{name}"


@given(st.text(max_size=60))
def test_a_method_s_name_is_one_part_of_a_path(method: str) -> None:
    part = path_part(method)
    assert part
    assert set(part) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-") or part == method
    assert "/" not in part
    assert "." not in part


def test_links_do_not_lead_out_of_the_storage(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    storage = open_storage(run)
    (run / "file").symlink_to(outside / "file")
    storage.write_bytes("file", b"new")
    assert (outside / "file").read_text() == "mine"
    (run / "architectures").symlink_to(outside)
    with pytest.raises(InvalidInput, match="a link that leaves") as caught:
        storage.write_bytes("architectures/x", b"new")
    one_line(caught.value)
    assert os.listdir(outside) == ["file"]
    # The storage itself may be a link: that is what the user said.
    (tmp_path / "link").symlink_to(run)
    open_storage(tmp_path / "link").write_bytes("a", b"x")


# --- URIs ------------------------------------------------------------------------------------------------------------

WITH_SECRETS = [
    f"s3://KEY:{SECRET}@bucket/runs",
    f"s3://KEY:{SECRET}/more@bucket/runs",
    f"s3://{SECRET}@bucket/runs",
    f"s3://bucket/runs?secret_key={SECRET}",
    f"s3://bucket/runs?region=x&{SECRET}",
    f"gs://bucket/runs?access_token={SECRET}",
    f"gs://me:{SECRET}@bucket/runs",
    f"abfs://:{SECRET}@account.blob.core.windows.net/runs",
    f"abfs://box@account.dfs.core.windows.net/runs?sig={SECRET}",
    f"hdfs://me:{SECRET}@host:9000/runs",
]


@pytest.mark.parametrize("uri", WITH_SECRETS)
def test_credentials_in_a_uri_are_refused_and_not_repeated(
    uri: str, sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput) as caught:
        open_storage(uri)
    if "&" not in uri:  # a parameter's name is repeated, its value is not
        assert SECRET not in one_line(caught.value)
    for arguments in (["front", uri], ["retrain", uri], ["search", "random", "gold", "digits", "--out", uri]):
        assert main(arguments) == 2
    assert main(["sweep", "digits", "--storage", uri]) == 2
    with pytest.raises(InvalidInput):
        nasray.load(uri)
    printed = "".join(capfd.readouterr())
    assert (SECRET not in printed) or "&" in uri
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    "uri",
    ["s3://b/a/../c?region=x", "s3://b/%2e%2e/c?region=x", "file:///tmp/%2e%2e/x", "s3://b/a%00b?region=x", "s3://b#x"],
)
def test_uris_that_are_not_plain_are_refused(uri: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_storage(uri)
    one_line(caught.value)


# --- JSON ------------------------------------------------------------------------------------------------------------

JSON_FILES = {
    "deep": "[" * 100_000,
    "deep object": '{"a":' * 100_000,
    "digits": '{"reference": [' + "9" * 100_000 + ", 0]}",
    "large": '{"reference": [' + "9" * 400 + ', 0], "sweep": {}}',
    "nan": '{"reference": [NaN, 0.1]}',
    "infinity": '{"reference": [1, -Infinity]}',
    "twice": '{"reference": [1, 0], "reference": [2, 0]}',
    "list": "[]",
    "number": "3",
    "empty": "",
    "binary": "\x00\x01",
    "words": '{"reference": "ab", "sweep": 3}',
    "one": '{"reference": [1], "sweep": {}}',
    "true": '{"reference": [true, false], "sweep": []}',
    "null": '{"reference": null, "sweep": null}',
    "none": "{}",
}


@pytest.mark.parametrize("case", JSON_FILES)
def test_a_hostile_run_json_ends_in_one_line(
    case: str, tmp_path: Path, row: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = open_storage(tmp_path)
    write_row(run, EVALUATIONS, row)
    (tmp_path / "run.json").write_text(JSON_FILES[case])
    with pytest.raises(InvalidInput) as caught:
        read_run(run)
    one_line(caught.value)
    for verb in ("front", "retrain"):
        code = main([verb, str(tmp_path)])
        assert code == 2 or (verb == "front" and case in ("none", "null"))  # a single search has no reference point
    assert all(line.startswith("nasray: ") for line in capsys.readouterr().err.splitlines())


def test_a_run_json_that_never_ends_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")
    (tmp_path / "other.json").symlink_to("/dev/zero")
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate(2**40)
    for name in ("run.json", "other.json", "big.json"):
        with pytest.raises(InvalidInput) as caught:
            open_storage(tmp_path).read_json(name)
        one_line(caught.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_sweep_with_any_value_in_any_field_is_one_or_is_refused(sweep: Sweep, tmp_path: Path, data: Any) -> None:
    values = sweep.to_dict()
    name = data.draw(st.sampled_from(sorted(values)))
    inner = {
        "arm": values["arms"][0],
        "arm's settings": values["arms"][0]["settings"],
        "training": values["training"],
        "training's settings": values["training"]["settings"],
        "execution": values["execution"],
    }
    where = data.draw(st.sampled_from([None, *inner])) if name == "name" else None
    if where is None:
        values[name] = data.draw(VALUES)
    else:
        inner[where][data.draw(st.sampled_from([*inner[where], "other"]))] = data.draw(VALUES)
    run = open_storage(tmp_path)
    try:
        text = json.dumps({"reference": [1.0, 0.1], "sweep": values})
    except ValueError:
        return
    run.write_bytes("run.json", text.encode())
    try:
        made, _ = read_run(run)
    except InvalidInput as error:
        one_line(error)
    else:
        assert isinstance(made, Sweep)


@given(st.text(max_size=200) | VALUES.map(lambda value: json.dumps(value)))
def test_any_text_is_an_architecture_or_is_refused(text: str) -> None:
    for space in ("gold", "darts", "nas_bench_201"):
        try:
            made = parse_architecture(registry.find("space", space), text)
        except InvalidInput as error:
            one_line(error)
        else:
            assert json.loads(made.to_json()).keys() == json.loads(text).keys()


@pytest.mark.parametrize("text", ["x" * 5000, "../../etc/passwd", "/dev/zero", "**", "[", "\0", "a\nb", "{" * 100_000])
def test_an_architecture_on_the_command_line_ends_in_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "darts", text]) == 2
    said = capsys.readouterr().err
    assert said.startswith("nasray: ")
    assert len(said.splitlines()) == 1
    assert len(said) < 2000


# --- tables ----------------------------------------------------------------------------------------------------------


def parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return bytes(sink.getvalue())


def changed(name: str, values: pa.Array) -> Any:
    return lambda table: table.set_column(table.column_names.index(name), name, values)


def many_rows(table: pa.Table) -> pa.Table:
    """60 million rows of one value: a file of some kilobytes, half a gigabyte in the memory."""
    return pa.table({"schema_version": np.ones(60_000_000, np.int64)})


TABLES = {
    "accuracy of 7": changed("accuracy", pa.array([7.0])),
    "accuracy of NaN": changed("accuracy", pa.array([float("nan")])),
    "infinite cost": changed("macs", pa.array([float("inf")])),
    "negative cost": changed("macs", pa.array([-1.0])),
    "no accuracy": changed("accuracy", pa.array([None], pa.float64())),
    "text for cost": changed("macs", pa.array(["cheap"])),
    "list for cost": changed("macs", pa.array([[1.0]])),
    "epochs below 0": changed("epochs", pa.array([-3])),
    "version as text": changed("schema_version", pa.array(["one"])),
    "no column": lambda table: table.drop_columns(["macs"]),
    "a column twice": lambda table: table.append_column("macs", pa.array([1.0])),
    "a further list": lambda table: table.append_column("mine", pa.array([[1, 2]])),
    "a further struct": lambda table: table.append_column("mine", pa.array([{"a": 1}])),
    "3000 columns": lambda table: pa.table(
        {**dict(zip(table.column_names, table.columns, strict=True)), **{f"c{i}": pa.array([1]) for i in range(3000)}}
    ),
    "60 million rows": many_rows,
    "no rows of others": lambda table: pa.table({"a": [1]}),
}


@pytest.mark.parametrize("case", TABLES)
@pytest.mark.filterwarnings("error")
def test_a_hostile_table_is_left_out_with_a_warning(case: str, tmp_path: Path, row: dict[str, Any]) -> None:
    run = open_storage(tmp_path)
    name = write_row(run, EVALUATIONS, row)
    good = pq.read_table(tmp_path / name)
    (tmp_path / "evaluations" / "theirs.parquet").write_bytes(parquet_bytes(TABLES[case](good)))
    with pytest.warns(RuntimeWarning, match=r"theirs\.parquet.*left out") as caught:
        assert len(read(run, EVALUATIONS, strict=False)) == 1
    (warning,) = caught
    one_line(warning.message)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_a_table_with_any_byte_changed_or_cut_ends_in_no_traceback(
    tmp_path: Path, row: dict[str, Any], place: int, change: int, cut: bool
) -> None:
    run = open_storage(tmp_path)
    name = write_row(run, EVALUATIONS, row)
    content = bytearray((tmp_path / name).read_bytes())
    place %= len(content)
    content[place] ^= change
    bad = tmp_path / "evaluations" / "bad.parquet"
    bad.write_bytes(content[:place] if cut else content)
    # A changed version is that of a later nasray: that is refused.
    with warnings.catch_warnings(record=True), contextlib.suppress(InvalidInput):
        warnings.simplefilter("always")
        assert 1 <= len(read(run, EVALUATIONS, strict=False)) <= 2
    bad.replace(tmp_path / "front.parquet")
    with contextlib.suppress(InvalidInput):
        nasray.load(tmp_path, "front")


def test_rows_whose_settings_are_no_json_meet_no_condition(tmp_path: Path, row: dict[str, Any]) -> None:
    run = open_storage(tmp_path)
    run.write_json("run.json", {})
    table = pq.read_table(tmp_path / write_row(run, EVALUATIONS, row))
    for text in ("[" * 100_000, "{", "3", '{"settings": 3}'):
        (tmp_path / "evaluations" / "theirs.parquet").write_bytes(
            parquet_bytes(changed("seed", pa.array([5]))(changed("settings", pa.array([text]))(table)))
        )
        assert main(["front", str(tmp_path), "--only", "batch_size=3"]) == 2


ACCURACIES = {
    "empty": b"",
    "no arch": b"a,b\n1,2\n",
    "no accuracy": b"arch,x\n|none~0|,1\n",
    "binary": bytes(range(256)) * 10,
    "parquet's first letters": b"PAR1" + b"\xff" * 100,
    "a quote that never ends": b'arch,cifar10_test_acc_200\n"' + b"x" * 10_000,
    "nan": b"arch,cifar10_test_acc_200\n{},nan\n",
    "huge": b"arch,cifar10_test_acc_200\n{}," + b"9" * 5000 + b"\n",
    "deep": b"arch,cifar10_test_acc_200\n" + b"{" * 5000 + b",50\n",
}


@pytest.mark.parametrize("case", ACCURACIES)
def test_a_hostile_table_of_accuracies_ends_in_one_line(case: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(ACCURACIES[case])
    with pytest.raises(InvalidInput) as caught:
        read_table(path, registry.find("space", "nas_bench_201"), dataset="cifar10")
    one_line(caught.value)


def test_a_table_of_accuracies_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    space = registry.find("space", "nas_bench_201")
    rows = 11_000_000
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array(["x" * 1000]))
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"arch": column, "cifar10_test_acc_200": pa.array(np.full(rows, 50.0))}), path)
    assert path.stat().st_size < 2_000_000
    os.mkfifo(tmp_path / "pipe.csv")
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(2**40)
    for name in ("bomb.parquet", "pipe.csv", "large.csv", "nothing.csv"):
        with pytest.raises(InvalidInput) as caught:
            read_table(tmp_path / name, space, dataset="cifar10")
        one_line(caught.value)


# --- what the tests above start from ---------------------------------------------------------------------------------


@pytest.fixture
def sweep() -> Sweep:
    return Sweep(
        name="mine",
        dataset="digits",
        arms=(
            Arm(
                method="random",
                space="gold",
                settings=Random.Config(epochs=1),
                param_space={"operations_per_node": (1, 2)},
            ),
        ),
        training=Training(settings=EvaluationSettings(epochs=1)),
    )


@pytest.fixture
def row() -> dict[str, Any]:
    """One evaluation, as a sweep writes it."""
    config = SearchConfig(method="random", space="gold", dataset="digits", settings=Random.Config(epochs=1))
    return {
        **{"run": "run", "method": "random", "space": "gold", "dataset": "digits", "seed": 0, "macs": 1.0},
        **{"architecture_id": "0" * 12, "architecture": "{}", "params": 1.0, "versions": "{}", "host": "here"},
        **{"settings": json.dumps(config.settings.to_dict()), "device": "cpu", "channels": 2, "cells": 3, "epochs": 1},
        **{"complete": True, "metric": "accuracy", "accuracy": 0.5, "training": "from scratch", "seconds": 1.0},
    }
