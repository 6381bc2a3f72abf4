"""The command line: what it prints, its exit codes, and that every error is one line."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nasray import registry
from nasray.cli import main
from nasray.cli.all_verbs import VERBS
from nasray.sweeps import Sweep


@pytest.mark.parametrize(
    ("command", "named", "accepted"),
    [
        ("swep digits", "'swep'", "did you mean sweep?"),
        ("xyz", "'xyz'", "expected one of sweep, search"),
        ("--verson", "'--verson'", "did you mean --version?"),
        ("--print-completion fish", "fish", "bash or zsh"),
        # Words that are missing, or too many.
        ("sweep", "SWEEP missing", "nasray sweep digits"),
        ("sweep --name x digits", "SWEEP comes first", "nasray sweep digits"),
        ("search gold_nas", "SPACE, DATASET missing", "search gold_nas gold digits"),
        ("search gold_nas gold", "DATASET missing", "search gold_nas gold digits"),
        ("front", "RUN missing", "nasray front runs/digits"),
        ("resume", "RUN missing", "nasray resume runs/digits"),
        ("draw darts", "ARCHITECTURE missing", "nasray draw darts DARTS_V2"),
        ("draw darts DARTS_V2", "--out", ".png, .svg or .pdf"),
        ("export nope best", "--out", ".safetensors, .pt2 or .onnx"),
        ("runs a b", "'b' is one word too many", "nasray runs [DIR]"),
        ("sweep digits extra", "'extra' is one word too many", "nasray sweep digits"),
        # Options that there are not: the nearest, and no list of all.
        ("sweep digits --lamda0 1", "--lamda0", "did you mean --lambda0?"),
        ("sweep digits --buget 1", "--buget", "did you mean --budget?"),
        ("sweep digits --zzz 1", "--zzz", "nasray sweep digits --help-all lists all"),
        ("sweep digits --training-epochs 3", "--training-epochs", "did you mean --training.epochs?"),
        ("search random gold digits --epoch 3", "--epoch", "did you mean --epochs?"),
        ("front nope --tabel x", "--tabel", "did you mean --table?"),
        # Flags, and what is no flag.
        ("sweep digits --no-budget", "--budget takes a number (M)", "Leave it out"),
        ("sweep digits --training.no-epochs", "--training.epochs takes a whole number", "Leave it out"),
        ("sweep digits --no-nesterow", "--no-nesterow", "did you mean --no-nesterov?"),
        ("sweep digits --random-baseline=3", "--random-baseline takes no value", "--no-random-baseline"),
        ("sweep digits --nesterov=often", "--nesterov often", "true or false, or choices A,B,C"),
        ("cost darts DARTS_V2 --json=yes", "--json takes no value", "alone"),
        # Values: the option, what was given, what is accepted.
        ("sweep digits --lambda0", "--lambda0 without a value", "a number from 1e-07 to 1"),
        ("sweep digits --lambda0 100", "--lambda0 100", "a number from 1e-07 to 1"),
        ("sweep digits --lambda0 many", "--lambda0 many", "a number from 1e-07 to 1"),
        ("sweep digits --epochs 1.5", "--epochs 1.5", "a whole number from 1"),
        ("sweep digits --training.epochs 0", "--training.epochs 0", "a whole number from 1"),
        ("sweep digits --training.select fronts", "fronts", "front, final, nothing. Did you mean front?"),
        ("sweep digits --trackers mlflw", "--trackers mlflw", "Did you mean mlflow?"),
        ("sweep digits --gpus-per-trial some", "--gpus-per-trial some", "a number or auto"),
        ("sweep digits --reference 1", "--reference 1", "2 numbers, or none"),
        ("sweep digits --seeds one", "--seeds one", "whole numbers"),
        ("sweep digits --seeds", "seeds ()", "one or more"),
        ("sweep digits --seeds 1 1", "seeds (1, 1)", "different numbers"),
        ("sweep digits --budget nan", "budget nan", "above 0"),
        ("train darts DARTS_V2 digits --budget much", "--budget much", "a number (M), or none"),
        ("search random gold digits --schedule steep", "--schedule steep", "cosine"),
        ("cost darts DARTS_V2 --channels many", "--channels many", "a whole number"),
        ("export nope best --to onx --out x", "--to onx", "Did you mean onnx?"),
        ("draw darts DARTS_V2 --out", "--out without a value", "a file"),
        ("list method", "method", "Did you mean methods?"),
        # Names of things.
        ("sweep digts", "'digts'", "did you mean 'digits'?"),
        ("sweep xyz", "'xyz'", "all_methods_digits"),
        ("sweep digits --method nope", "'nope'", "gold_nas"),
        ("sweep digits --method gold", "'gold'", "did you mean 'gold_nas'?"),
        ("sweep digits --space nope", "'nope'", "darts"),
        ("sweep digits --data digts", "'digts'", "did you mean 'digits'?"),
        ("sweep gold_cifar10 --preset papr", "'papr'", "expected paper"),
        ("sweep digits --name ../x", "'../x'", "the name of one folder"),
        ("sweep digits --storage /proc/nowhere", "/proc/nowhere", "a folder that you may write"),
        ("search gold_nas darts digits", "'gold_nas'", "35 candidates"),
        ("search nope gold digits", "'nope'", "gold_nas"),
        ("search random gold nope", "'nope'", "digits"),
        ("retrain nope", "'nope'", "a run's folder"),
        ("front nope", "'nope'", "a run's folder"),
        ("cost nope DARTS_V2", "'nope'", "darts"),
        ("cost darts nope", "'nope'", "DARTS_V2"),
        ("cost darts DARTS_V3", "'DARTS_V3'", "did you mean DARTS_V"),
        ("cost darts GOLD_s1", "'GOLD_s1'", "DARTS_V2"),
        ("cost darts DARTS_V2 --input 3x32", "(3, 32)", "(channels, height, width)"),
        ("cost darts DARTS_V2 --input big", "'big'", "3x32x32"),
        ("cost darts DARTS_V2 --channels 0", "channels 0", "from 1 to"),
        ("cost darts DARTS_V2 --skeleton nope", "'nope'", "cifar, imagenet"),
        ("cost gold GOLD_s1 --cells 3", "3 cells", "14"),
        ("cost gold GOLD_s1 --channels 1 --latency-batch 0", "batch 0", "from 1 up"),
        ("cost gold GOLD_s1 --latency-threads 2", "without a batch", "--latency-batch 1"),
        ("cost gold GOLD_s1 --latency-batch 1 --latency-device abacus", "'abacus'", "auto, cpu"),
        ("cost gold GOLD_s1 --latency-batch 1 --latency-device meta", "'meta'", "auto, cpu"),
        ("draw darts DARTS_V2 --out cells.bmp", "cells.bmp", ".png, .svg, .pdf"),
        ("draw darts DARTS_V2 --out /proc/nowhere/cells.png", "/proc/nowhere", "cannot be written"),
        ("draw gold DARTS_V2 --out cells.png", "'DARTS_V2'", "GOLD_s1"),
        ("list nope", "nope", "methods"),
    ],
)
def test_bad_input_is_one_line_that_names_the_value_and_what_is_accepted(
    command: str,
    named: str,
    accepted: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nasray: ")
    assert err.count("\n") == 1
    assert named in err
    assert accepted in err
    assert len(err) < 260  # no dump of all that there is


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        ({"normal": [[0, 2, "conv_9x9"]]}, "conv_9x9"),
        ({"normal": [[3, 2, "skip_connect"]]}, "edge 3 to 2"),
        ({"normal": [[0, 2, "skip_connect"]]}, "node 3"),
        ({"normal": "all"}, "map of cells to lists"),
        ({}, "cells []"),
    ],
)
def test_an_architecture_that_is_not_of_the_space(
    cells: dict, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.json"
    full = {"reduce": [[0, t, "skip_connect"] for t in range(2, 6)]} if cells else {}
    path.write_text(json.dumps({"space": "darts", "cells": {**cells, **full}}))
    assert main(["cost", "darts", str(path)]) == 2
    err = capsys.readouterr().err
    assert named in err
    assert "expected" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "params", "macs"),
    [
        ("darts DARTS_V2 --channels 36 --cells 20 --input 3x32x32 --classes 10", "3.3493 M", "528.36 M"),
        (
            "darts DARTS_V2 --channels 48 --cells 14 --input 3x224x224 --classes 1000 --skeleton imagenet",
            "4.7188 M",
            "529.91 M",
        ),
        ("gold GOLD_s1 --channels 36", "3.4420 M", "504.64 M"),
    ],
)
def test_cost_prints_the_published_networks(
    arguments: str, params: str, macs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", *arguments.split()]) == 0
    assert capsys.readouterr().out.startswith(f"{params} parameters, {macs} multiply-adds (")


def test_cost_measures_latency_and_says_on_what(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["cost", "nas_bench_201", "|avg_pool_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"]
    command += ["--channels", "2", "--cells", "3", "--input", "3x8x8", "--latency-device", "cpu"]
    assert main([*command, "--latency-batch", "2", "--latency-threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    number = r"[0-9.e+]+"
    said = rf"latency {number} ms, quartiles {number} and {number} ms: \d+ runs, batch 2, 1 thread, \S.*"
    assert len(lines) == 2
    assert re.fullmatch(said, lines[1])
    assert main([*command, "--latency-batch", "3", "--json"]) == 0
    latency = json.loads(capsys.readouterr().out)["latency"]
    assert 0 < latency["low_ms"] <= latency["median_ms"] <= latency["high_ms"]
    assert latency["batch"] == 3
    assert latency["device"]


def test_draw_takes_what_cost_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = {"normal": [[0, 1, "connect"], [1, 17, "connect"]]}
    cells |= {f"reduce_{i}": [[0, 1, "connect"], [1, 3, "connect"]] for i in (1, 2)}
    mine = json.dumps({"space": "dso", "cells": cells}, separators=(",", ":"))
    for space, architecture in (("darts", "DARTS_V2"), ("dso", mine)):
        file = tmp_path / f"{space}.png"
        assert main(["draw", space, architecture, "--out", str(file)]) == 0
        assert file.read_bytes().startswith(b"\x89PNG")
        assert str(file) in capsys.readouterr().out


def test_list_names_everything_and_shows_no_figure_from_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "methods", "spaces", "datasets", "architectures"]) == 0
    out = capsys.readouterr().out
    for expected in ("gold_nas", "lambda0 1e-07 to 1", "stop_macs", "darts", "cifar10", "digits", "DARTS_V2", "2.76"):
        assert expected in out
    assert "2.93" not in out  # methods.md gives it for GOLD-NAS-A from memory only


def test_a_single_search_writes_the_same_tables_and_goes_on_after_a_kill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import nasray
    from nasray.trials.search import Search

    common = "search random gold digits --channels 2 --cells 3 --epochs 3 --batch-size 32 --train-examples 64"
    command = [*common.split(), "--auxiliary-weight", "0", "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0

    run_epoch = Search.run_epoch

    def killed(search: Search) -> object:
        if search.epoch == 2:
            raise KeyboardInterrupt
        return run_epoch(search)

    monkeypatch.setattr(Search, "run_epoch", killed)
    assert main([*command, str(tmp_path / "killed")]) == 130
    monkeypatch.undo()
    assert main([*command, str(tmp_path / "killed")]) == 0
    whole, again = (nasray.load(tmp_path / name, "candidates") for name in ("whole", "killed"))
    columns = ["trial_id", "epoch", "architecture_id", "macs", "accuracy", "supernet_accuracy", "gap"]
    assert whole[columns].equals(again[columns])
    capsys.readouterr()
    assert main([*command, str(tmp_path / "killed"), "--seed", "1"]) == 2
    assert "holds another search, which differs in seed" in capsys.readouterr().err


def test_a_file_that_holds_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text("NUMBER = 3\n")
    name = f"{tmp_path / 'mine.py'}:NUMBER"
    commands = {
        "CellSpace": ["search", "random", name, "digits"],
        "Sweep": ["sweep", name],
        "SearchMethod": ["search", name, "gold", "digits"],
    }
    for accepted, command in commands.items():
        assert main(command) == 2
        err = capsys.readouterr().err
        assert accepted in err
        assert err.count("\n") == 1


def test_list_without_a_kind_loads_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code = "import sys; from nasray.cli import main; main(['list']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *lines, has_torch = done.stdout.splitlines()
    assert has_torch == "False"
    assert any(line.startswith("methods: ") and "gold_nas" in line for line in lines)


@pytest.mark.parametrize("columns", [80, 100])
def test_the_help_of_every_verb_fits_a_screen(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([]) == 0
    usage = capsys.readouterr().out
    for verb in VERBS:
        assert f"nasray {verb}" in usage
        assert main([verb, "--help"]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"usage: nasray {verb} ")
        for lines in (usage.splitlines(), out.splitlines()):
            assert len(lines) <= 50
            assert max(map(len, lines)) <= 100
        assert max(map(len, out.splitlines())) <= columns


@pytest.mark.parametrize("name", registry.names("sweep"))
def test_the_help_of_a_sweep_fits_two_screens_and_begins_with_what_it_varies(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["sweep", name, "--help"]) == 0
    short = capsys.readouterr().out
    assert len(short.splitlines()) <= 100
    found = registry.find("sweep", name)
    sweep: Sweep = getattr(found, "like", found)  # of a fitted one
    groups = re.findall(r"^(\S.*):$", short, re.MULTILINE)
    before = short.partition("\nrun:\n")[0]
    for varied in sweep.varied:
        assert f"--{varied.replace('_', '-')} " in before
    assert groups[-1] == "help"
    assert [group for group in groups if not group.startswith(("what", "acc"))] == [
        "run", "search", "training from scratch", "budget and front", "execution", "help",
    ]  # fmt: skip
    assert main(["sweep", name, "--help-all"]) == 0
    whole = capsys.readouterr().out
    every = {one.name for arm in sweep.arms for one in dataclasses.fields(arm.settings)}
    for one in every:
        assert re.search(rf"-{one.replace('_', '-')}\b", whole)


def test_the_help_of_a_sweep_has_its_own_defaults_with_units(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "digits", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert re.search(r"--lambda0 X .*?\(default: 0\.003, 0\.01, 0\.03, 0\.1\)", out)
    assert re.search(r"--stop-macs M .*?\(default: 0\.043\)", out)  # the class's own is 240
    assert re.search(r"--training\.epochs N .*?\(default: 15\)", out)  # 600
    assert "--budget M " in out
    assert main(["sweep", "gold_cifar10", "--preset", "paper", "--help"]) == 0
    assert re.search(r"--training\.epochs N .*?\(default: 600\)", " ".join(capsys.readouterr().out.split()))


def test_a_method_that_is_typed_brings_its_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "digits", "--sparsity", "3", "--name", "../x"]) == 2
    assert "--sparsity" in capsys.readouterr().err
    assert (
        main(["sweep", "digits", "--sparsity", "3", "--space", "darts", "--method", "ista_nas", "--name", "../x"]) == 2
    )
    assert "'../x'" in capsys.readouterr().err  # all else was accepted


def test_options_stand_before_words_or_after_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("--channels 36 darts DARTS_V2", "darts --channels=36 DARTS_V2", "darts DARTS_V2 --channels 36"):
        assert main(["cost", *words.split()]) == 0
        assert capsys.readouterr().out.startswith("3.3493 M parameters")


@pytest.mark.slow
def test_the_installed_command_runs_outside_the_checkout(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("nasray"), "cost", "darts", "DARTS_V2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == (
        "3.3493 M parameters, 528.36 M multiply-adds (36 channels, 20 cells, input 3x32x32, 10 classes)\n"
    )
