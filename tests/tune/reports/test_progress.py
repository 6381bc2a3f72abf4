"""What a person sees of a running phase: counted by hand, right at 40 and at 100 columns, plain where nobody draws."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial as TuneTrial
from rich.console import Console

from nasray.methods.gold_nas import GoldNAS
from nasray.methods.random import Random
from nasray.runs.events import drawn_by, show_events
from nasray.runs.outcomes import Outcome
from nasray.trials.search_config import SearchConfig
from nasray.trials.trial import SearchTrial
from nasray.tune.phase import Phase
from nasray.tune.reports.progress import Events, Progress
from nasray.tune.reports.state import Counting, State
from nasray.tune.reports.view import clock, line, view

STRENGTHS = (0.003, 0.01, 0.03, 0.1)


def searches() -> list[SearchTrial]:
    """Four of GOLD-NAS, of ten epochs each, and a random one of two."""
    gold = [
        SearchConfig(method="gold_nas", space="gold", dataset="digits", settings=GoldNAS.Config(epochs=10, lambda0=one))
        for one in STRENGTHS
    ]
    random = SearchConfig(method="random", space="gold", dataset="digits", settings=Random.Config(epochs=2), seed=7)
    return [SearchTrial(run="digits", config=config, varied=("lambda0",)) for config in [*gold, random]]


class Running(SimpleNamespace):
    """A trial as Tune has it."""

    def __str__(self) -> str:
        return str(self.name)


def in_tune(trial: SearchTrial, status: str, **result: Any) -> Any:
    return Running(name=trial.name, status=status, last_result=result, config={"trial": trial.name})


def counting() -> tuple[Counting, list[Any]]:
    first, second, third, fourth, random = trials = searches()
    phase = Phase(name="search", kind="searches", run="digits", dataset="digits", trials=trials)
    # The first ended in an earlier pass, after eight of its ten epochs.
    points = ((0.05, 0.42), (0.2, 0.81), (0.41, 0.8713), (0.4, 0.7))
    ended = {first.name: Outcome(state="done", digest=first.digest, epoch=8, points=points)}
    in_this_pass = [
        in_tune(second, TuneTrial.RUNNING, epoch=3, supernet_accuracy=0.7134, points=[(0.3, 0.84)]),
        in_tune(third, TuneTrial.TERMINATED, epoch=2, ended=True, given_up="loss became nan", points=[]),
        in_tune(fourth, TuneTrial.PENDING),
        in_tune(random, TuneTrial.TERMINATED, epoch=2, ended=True, points=[(0.25, 0.7), (0.38, 0.79)]),
    ]
    return Counting(phase, ended, began=1000.0), in_this_pass


@pytest.fixture
def state() -> State:
    counted, trials = counting()
    return replace(counted.count(trials), epochs_a_second=0.5, at=1090.0)


def test_trials_and_epochs_are_counted_by_arm(state: State) -> None:
    gold, random = state.arms
    assert (gold.name, gold.total, gold.done, gold.running, gold.failed) == ("gold_nas", 4, 1, 1, 1)
    assert (random.name, random.total, random.done, random.running, random.failed) == ("random", 1, 1, 0, 0)
    assert state.waiting == 1
    # Those that ended have no epochs left: 8 + 2 of the ended ones, 10 + 10 of the others, 2 of the random one.
    assert (state.of_all("epochs"), state.epochs_of_all) == (8 + 2 + 3 + 2, 8 + 2 + 10 + 10 + 2)
    assert gold.best == (0.41, 0.8713)
    assert state.front == [(0.05, 0.42), (0.2, 0.81), (0.3, 0.84), (0.41, 0.8713)]
    assert state.failures == (("gold_nas on gold, lambda0 0.03, seed 0", "loss became nan"),)
    assert [one.label for one in state.running] == ["gold_nas on gold, lambda0 0.01, seed 0"]
    # 17 epochs at one in two seconds, of which four have gone by since.
    assert state.seconds_left(1094.0) == pytest.approx(17 / 0.5 - 4)
    over = replace(state, arms=(replace(gold, done=3, running=0), random))
    assert over.seconds_left(1094.0) is None


def test_the_speed_is_that_since_the_first_process_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, trials = counting()
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    assert counted.count(trials).epochs_a_second is None
    now[0] = 1060.0
    counted.heard(done=False)
    for _ in range(5):
        now[0] += 2.0
        counted.heard(done=True)
    assert counted.count(trials).epochs_a_second == pytest.approx(0.5)


def rendered(state: State, width: int, height: int, *, plain_letters: bool = False) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), record=True, force_terminal=True)
    console.print(view(state, 1090.0, width=width, height=height, plain_letters=plain_letters))
    text = console.export_text(clear=False)
    folder = os.environ.get("NASRAY_PICTURES")
    if folder is not None and height == 30 and not plain_letters:
        console.print()
        svg = console.export_svg(title="nasray sweep digits")
        Path(folder, f"progress_{width}.svg").write_text(svg)
    return text.splitlines()


@pytest.mark.parametrize("width", [40, 100])
def test_the_view_is_right_at_any_width(width: int, state: State) -> None:
    lines = rendered(state, width, 30)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for said in ("digits: searches", "1:30 elapsed, about 0:34 left", "2 of 5 done", "1 running, 1 left, 1 failed"):
        assert said in text
    for said in ("15 of 32 epochs", "best accuracy 0.8713", "47%", "● gold_nas", "▲ random", "0.41"):
        assert said in text
    assert "failed: gold_nas on gold, lambda0 0.03, seed 0: loss became nan" in " ".join(text.split())
    # The picture: four points of the first arm's front, two of the other's; the best one at its top right.
    plot = [one for one in lines if "│" in one]
    assert sum(one.count("●") for one in plot) == 4
    assert sum(one.count("▲") for one in plot) == 2
    assert plot[0].startswith("0.8713")
    assert plot[0].rstrip().endswith("●")
    assert plot[-1].startswith("0.4200 │●")


@pytest.mark.parametrize("width", [20, 40, 100])
@pytest.mark.parametrize("height", [14, 16, 24])
def test_the_view_is_no_higher_than_the_terminal(width: int, height: int, state: State) -> None:
    many = replace(state, arms=tuple(replace(state.arms[0], name=f"arm {number}") for number in range(30)))
    for one in (state, many) if height > 16 else (state,):
        lines = rendered(one, width, height, plain_letters=True)
        assert len(lines) <= height
    # Only what ASCII has, but for what rich itself draws.
    assert all(letter.isascii() or letter in "━╸╺…" for letter in "".join(lines))


def test_what_rungs_stopped_is_counted(state: State) -> None:
    first, *others = state.arms
    stopped = replace(state, arms=(replace(first, stopped=1), *others))
    assert "2 of 5 done, 1 running, 1 left, 1 stopped, 1 failed |" in line(stopped, 1090.0)


def test_a_line_says_the_same(state: State) -> None:
    assert line(state, 1090.0) == (
        "searches: 2 of 5 done, 1 running, 1 left, 1 failed | 15 of 32 epochs | front of 4 | best accuracy 0.8713 | "
        "1:30 elapsed, about 0:34 left"
    )


@pytest.mark.parametrize(
    ("seconds", "said"), [(7.4, "0:07"), (750, "12:30"), (11_100, "3:05:00"), (187_200, "2 days 4 h")]
)
def test_a_clock(seconds: float, said: str) -> None:
    assert clock(seconds) == said


def on_a_terminal(act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a terminal of 40 columns is given."""
    ours, theirs = os.openpty()
    given: list[bytes] = []

    def read() -> None:
        while True:
            try:
                given.append(os.read(ours, 65536))
            except OSError:  # the other end was closed
                return

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        for name, value in {"TERM": "xterm-256color", "COLUMNS": "40", "LINES": "24"}.items():
            patched.setenv(name, value)
        act()
    reader.join(10)
    os.close(ours)
    return b"".join(given).decode()


def test_it_is_drawn_on_a_terminal_and_taken_off_it(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, trials = counting()
    progress = Progress(counted)

    def act() -> None:
        progress.on_step_end(1, trials)
        print("said meanwhile", file=sys.stderr)
        assert len(drawn_by) == 1
        for stop in tuple(drawn_by):  # as a signal's handler does
            stop()
        progress.on_experiment_end(trials)

    given = on_a_terminal(act, monkeypatch)
    assert "\x1b[?25l" in given  # the cursor hidden, and shown again
    assert given.count("\x1b[?25h") == 1
    assert "digits: searches" in given
    assert given.index("said meanwhile") < given.rindex("searches: 2 of 5 done")
    assert not drawn_by


def test_there_are_plain_lines_elsewhere_and_none_where_it_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    counted, trials = counting()
    for quiet in (False, True):
        progress = Progress(counted, quiet=quiet)
        progress.on_step_end(1, trials)
        progress.on_experiment_end(trials)
        told = capsys.readouterr()
        assert told.out == ""
        assert "\x1b" not in told.err
        assert bool(told.err) != quiet
    assert not drawn_by


def test_a_trial_that_fails_is_named_with_its_knobs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, trials = counting()
    show_events()
    Events("digits", "searches", "runs/digits", counted.label).on_trial_result(
        1, trials, trials[1], {"epoch": 2, "given_up": "loss became nan", "state": "diverged"}
    )
    said = capsys.readouterr().err
    assert 'of="gold_nas on gold, lambda0 0.03, seed 0" reason="loss became nan"' in said
