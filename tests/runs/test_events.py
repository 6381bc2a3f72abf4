"""Events are one line each, whatever they hold, and come through Python's own logging."""

from __future__ import annotations

import logging
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasray.errors import InvalidInput
from nasray.runs.events import line, note, say, show_events


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    logger = logging.getLogger("nasray")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    monkeypatch.delenv("NASRAY_LOG", raising=False)
    return logger


@given(st.text(), st.text())
def test_an_event_is_one_line_whatever_it_holds(run: str, reason: str):
    assert len(line("trial_failed", run=run, reason=reason).splitlines()) == 1


def test_a_line_can_be_taken_apart():
    # shlex splits as a shell does, an independent reader of name=value with quotes.
    said = line("trial_failed", run="digits", trial=None, seconds=1.5, reason='no "space" left = full')
    assert dict(part.split("=", 1) for part in shlex.split(said)) == {
        "event": "trial_failed",
        "run": "digits",
        "seconds": "1.5",
        "reason": 'no "space" left = full',
    }


def test_it_is_quiet_by_default(logger: logging.Logger, capsys: pytest.CaptureFixture[str]):
    show_events()
    show_events()
    say("info", "trial_done", run="digits")
    say("warning", "trial_retried", run="digits", trial="1ff09c5f0000")
    (only,) = capsys.readouterr().err.splitlines()
    assert only.endswith("Z warning event=trial_retried run=digits trial=1ff09c5f0000")


def test_where_only_errors_are_wanted(logger: logging.Logger, capsys: pytest.CaptureFixture[str]):
    show_events(quiet=True)
    say("warning", "trial_retried", run="digits")
    note("starting Ray ...")
    say("error", "trial_failed", run="digits")
    (only,) = capsys.readouterr().err.splitlines()
    assert only.endswith("Z error event=trial_failed run=digits")
    show_events()
    note("starting Ray ...")
    assert capsys.readouterr().err == "starting Ray ...\n"


def test_the_environment_asks_for_more(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NASRAY_LOG", "debug")
    show_events()
    say("debug", "epoch", run="digits", epoch=3)
    assert "event=epoch run=digits epoch=3" in capsys.readouterr().err
    monkeypatch.setenv("NASRAY_LOG", "loud")
    with pytest.raises(InvalidInput, match=r"'loud': expected one of debug, info, warning, error"):
        show_events()
