"""The demonstration of the README, as it is typed there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import nasray


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demonstration_ends_in_a_front(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("nasray"), "sweep", "digits"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    run = tmp_path / "runs" / "digits"
    assert nasray.load(run, "candidates")["trial_id"].nunique() >= 8
    front = nasray.load(run, "front")
    assert len(front) >= 4
    assert (front["macs"].diff()[1:] > 0).all()
    assert (front["accuracy"].diff()[1:] > 0).all()
    assert set(front["epochs"]) == {15}
    assert front["architecture_id"].iloc[0] in done.stdout
    assert "front of" in done.stderr
