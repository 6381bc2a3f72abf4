"""The names of the package itself: those of the design, lazy, documented, and doing what the verbs do."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nasray
from nasray.cli import main
from nasray.errors import InvalidInput

FUNCTIONS = {
    *("sweep", "search", "train", "retrain", "resume", "cost", "draw", "export", "open", "load", "list", "network"),
    *("pareto_front", "hypervolume", "plot_front", "importance", "effects"),
}
VALUES = {"Sweep", "Arm", "Range", "Choice", "Budget", "Run"}


def test_the_names_are_those_of_the_design() -> None:
    assert {*nasray.__all__} - {"report"} == FUNCTIONS | VALUES
    assert {*nasray.__all__} <= {*dir(nasray)}
    for name in nasray.__all__:
        found = getattr(nasray, name)
        assert inspect.isclass(found) is (name in VALUES)
        assert found.__module__.startswith("nasray.")
        text = inspect.getdoc(found) or ""
        assert len(text.splitlines()[0]) > 20, name
        if name in FUNCTIONS:
            hints = inspect.signature(found)
            assert hints.return_annotation is not inspect.Signature.empty
            assert all(one.annotation is not inspect.Parameter.empty for one in hints.parameters.values()), name


def test_names_lists_and_values_load_nothing_heavy() -> None:
    code = (
        "import sys, nasray; dir(nasray); nasray.list(); nasray.list('sweeps'); nasray.Range, nasray.Choice;"
        "print({name.split('.')[0] for name in sys.modules} & {'torch', 'ray', 'pandas', 'numpy', 'matplotlib'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_list_is_what_there_is() -> None:
    assert {"gold_nas", "darts"} <= {*nasray.list("methods")}
    assert nasray.list()["spaces"] == nasray.list("spaces")
    with pytest.raises(InvalidInput, match=r"^list 'method': did you mean 'methods'\?$"):
        nasray.list("method")


def test_cost_and_draw_do_what_the_verbs_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counted = nasray.cost("darts", "DARTS_V2")
    assert main(["cost", "darts", "DARTS_V2"]) == 0
    assert capsys.readouterr().out == f"{counted}\n"
    assert (round(counted.params, 4), round(counted.macs, 2)) == (3.3493, 528.36)  # as published
    first = nasray.draw("darts", "DARTS_V2", tmp_path / "one.svg")
    assert main(["draw", "darts", "DARTS_V2", "--out", str(tmp_path / "other.svg")]) == 0
    assert "<svg" in first.read_text()
    with pytest.raises(InvalidInput, match="has no architecture"):
        nasray.cost("darts", {"macs": 3})


def test_what_nothing_was_trained_of_names_what_trains_it(tmp_path: Path) -> None:
    tiny: dict[str, Any] = dict(epochs=1, channels=2, cells=3, batch_size=32, train_examples=64, auxiliary_weight=0.0)
    found = nasray.search("random", "gold", "digits", out=tmp_path / "found", **tiny)
    assert repr(found) == f"Run({str(tmp_path / 'found')!r})"
    with pytest.raises(InvalidInput, match=r"not trained from scratch\. nasray\.train\(row\) trains"):
        found.network()
    out = tmp_path / "front.png"
    nasray.plot_front(found.front(), out)
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lamda0": 1}, "Unknown option 'lamda0' of sweep digits. Did you mean 'lambda0'?"),
        ({"zzz": 1}, "nasray sweep digits --help-all lists all."),
        ({"training": {"epoch": 1}}, "Did you mean 'training.epochs'?"),
        ({"training": 3}, "training 3: expected its fields by name"),
        ({"lambda0": 100.0}, "lambda0 100.0"),
        ({"budget": -1.0}, "budget -1.0"),
        ({"preset": "paper"}, "it has none"),
    ],
)
def test_a_sweep_refuses_what_the_verb_refuses(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        nasray.sweep("digits", storage=str(tmp_path), **options)
    assert said in str(refused.value)
    assert not [*tmp_path.iterdir()]


def test_a_choice_is_drawn_and_written_and_read() -> None:
    from nasray.methods.random import Random

    space: dict[str, Any] = {
        "learning_rate": nasray.Range(low=0.01, high=0.1, log=True),
        "operations_per_node": nasray.Choice((1, 2, 3)),
    }
    arm = nasray.Arm(method="random", space="gold", settings=Random.Config(), param_space=space, samples=9)
    drawn = [point.settings.to_dict()["operations_per_node"] for point in arm.points()]
    assert sorted(drawn) == [1, 1, 1, 2, 2, 2, 3, 3, 3]  # each equally often
    sweep = nasray.Sweep(name="x", dataset="digits", arms=(arm,))
    assert nasray.Sweep.of(sweep.to_dict()) == sweep
    with pytest.raises(InvalidInput, match="operations_per_node 99"):
        dataclasses.replace(arm, param_space={"operations_per_node": nasray.Choice((1, 99))})
    with pytest.raises(InvalidInput, match="two values or more"):
        nasray.Choice((1,))
