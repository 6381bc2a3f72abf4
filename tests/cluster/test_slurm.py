"""The Slurm script on a Slurm of two nodes on this machine: two hosts in name spaces, with GPUs in name only."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import nasray

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster" / "slurm" / "nasray.sbatch"
TWO_NODES = Path(__file__).parent / "two_node_slurm.sh"

SWEEP = """
import os
import socket
import time
from pathlib import Path

from nasray.methods.random import Random
from nasray.sweeps import Arm, EvaluationSettings, Sweep, Training


class Together(Random):
    'Goes on once a search is at it on each of the two nodes, however long the second takes to come up.'

    def step(self, learner, batch, architecture_batch):
        here, start = Path(__file__).parent, os.environ.get("SLURM_RESTART_COUNT", "0")
        (here / f"start-{start}-{socket.gethostname()}").touch()
        while len(list(here.glob(f"start-{start}-*"))) < 2:
            time.sleep(0.05)
        super().step(learner, batch, architecture_batch)


COMMON = dict(
    batch_size=32, channels=2, cells=3, auxiliary_weight=0.0, augmentation="standard", train_examples=128,
    device="cpu",  # Slurm's GPUs are none of torch's
)
SWEEP = Sweep(
    name="tiny",
    dataset="digits",
    arms=(
        Arm(
            method=__file__ + ":Together",
            space="gold",
            settings=Together.Config(**COMMON, epochs=15),
            param_space={"operations_per_node": (1, 2, 3, 4)},
        ),
    ),
    training=Training(settings=EvaluationSettings(**COMMON, epochs=4, drop_path=0.0)),
    random_baseline=False,
)
"""

# Waits for conditions, and gives up on each after a time that only a machine that has stopped would need.
SESSION = r"""
set -u
until_true() { # SECONDS COMMAND ...
  local deadline=$((SECONDS + $1))
  until "${@:2}" >/dev/null 2>&1; do
    if ((SECONDS > deadline)); then
      echo "waited $1 s in vain for: ${*:2}" >&2
      exit 1
    fi
    sleep 0.2
  done
}
ended() { scontrol show job "$job" | grep --extended-regexp 'JobState=(COMPLETED|FAILED|CANCELLED|NODE_FAIL)'; }
nobody() { ! pgrep 'raylet|gcs_server'; } # by name: this script's own arguments have the words in them

sbatch --test-only "$SCRIPT" "$FOLDER/tiny.py:SWEEP"
job=$(sbatch --parsable --output="$FOLDER/job.log" "$SCRIPT" "$FOLDER/tiny.py:SWEEP" \
  --name slurm --storage "$FOLDER/runs" --gpus-per-trial 1)
until_true 300 grep 'event=epoch .* epoch=3 ' "$FOLDER/job.log"
# What Slurm does five minutes before the time is up (--signal), or before it pre-empts the job.
scancel --signal=USR1 --batch "$job"
until_true 240 grep 'back into the queue' "$FOLDER/job.log"
until_true 600 ended
scontrol show job "$job"
until_true 60 nobody
"""


def missing() -> str:
    """Why there can be no Slurm here, or nothing."""
    lacking = [name for name in ("sbatch", "slurmctld", "slurmd", "munged", "ip", "unshare") if not shutil.which(name)]
    if lacking:
        return f"{', '.join(lacking)} missing: apt-get install slurm-wlm munge iproute2 util-linux"
    if os.geteuid() != 0:
        return "name spaces for two nodes need root"
    made = subprocess.run(["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "true"], capture_output=True)
    return "" if made.returncode == 0 else f"no name spaces: {made.stderr.decode().strip()}"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one: Unix sockets lie in it."""
    made = Path(tempfile.mkdtemp(prefix="slurm-", dir="/var/tmp"))
    yield made
    shutil.rmtree(made)


def rows(run: Path, table: str) -> pd.DataFrame:
    frame = nasray.load(run, table)
    return frame.drop(columns=["created_at", "seconds", "peak_memory_bytes", "run", "host"], errors="ignore")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck missing: apt-get install shellcheck")
def test_shellcheck_finds_nothing() -> None:
    found = subprocess.run(
        ["shellcheck", "--severity=style", SCRIPT, TWO_NODES, ROOT / ".ci" / "run"], capture_output=True, text=True
    )
    assert found.stdout == ""


def test_without_a_sweep_it_says_what_it_takes() -> None:
    said = subprocess.run(["bash", SCRIPT], capture_output=True, text=True)
    assert said.returncode == 2
    assert len(said.stderr.splitlines()) == 1
    assert "SWEEP --name RUN --storage DIR" in said.stderr


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.timeout(2400)
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_preempted_job_is_requeued_and_ends_as_if_left_alone(folder: Path) -> None:
    (folder / "tiny.py").write_text(SWEEP)
    home = folder / "home"
    home.mkdir()
    environment = {
        # Each node has a /tmp/ray of its own.
        **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_", "TMPDIR"))},
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "NASRAY_LOG": "debug",
        "SCRIPT": str(SCRIPT),
        "FOLDER": str(folder),
    }
    spaces = ["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc"]
    session = subprocess.run(
        [*spaces, TWO_NODES, folder / "nodes", "bash", "-c", SESSION], env=environment, capture_output=True, text=True
    )
    log = (folder / "job.log").read_text() if (folder / "job.log").exists() else ""
    assert session.returncode == 0, session.stderr + log[-3000:]

    # --test-only says on standard error when and where the job would start.
    assert re.search(r"Job \d+ to start at .* on nodes n\[1-2\]", session.stderr)
    for said in ("JobState=COMPLETED", "Restarts=1", "ExitCode=0:0"):
        assert said in session.stdout, session.stdout + log[-3000:]
    starts = re.findall(r"start (\d): Ray at (10\.201\.0\.\d):\d+ on 2 nodes", log)
    assert starts == [("1", "10.201.0.1"), ("2", "10.201.0.1")]
    assert "told to end" in log

    token = home / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() not in log

    run = folder / "runs" / "slurm"
    assert {path.name for path in folder.glob("start-*")} == {f"start-{i}-n{node}" for i in (0, 1) for node in (1, 2)}
    # In the second start each node began a search, or went on with one, and ended it.
    assert set(nasray.load(run, "candidates")["host"]) == {"n1", "n2"}
    command = [sys.executable, "-m", "nasray.cli", "sweep", f"{folder / 'tiny.py'}:SWEEP", "--name", "alone"]
    subprocess.run([*command, "--storage", folder / "runs"], env=environment, check=True, capture_output=True)
    for table in ("candidates", "evaluations", "front"):
        pd.testing.assert_frame_equal(rows(run, table), rows(folder / "runs" / "alone", table))
