"""In a user's own Ray: Ctrl-C ends a sweep, its actors go, the user's handlers and Ray stay, nothing else is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweep_files import gold_sweep

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAM = """
import os, re, signal, sys, threading, time
import psutil, ray
from nasray import registry
from nasray.sweeps import Sweep
from nasray.sweeps.run import run_sweep

ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
print("ray is up", file=sys.stderr, flush=True)
signal.signal(signal.SIGTERM, mine := lambda *_: None)

def trials():
    names = []
    for one in psutil.Process().children(recursive=True):
        try:
            names += [one.name()] if re.match("ray::(Search|Training)", " ".join(one.cmdline())) else []
        except psutil.Error:
            pass
    return names

def interrupt():
    while not trials():
        time.sleep(0.1)
    time.sleep(2)
    began.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

began = []
sweep = registry.find("sweep", sys.argv[1], Sweep)
threading.Thread(target=interrupt, daemon=True).start()
try:
    run_sweep(sweep, "users")
except KeyboardInterrupt:
    print("interrupted", flush=True)
while trials():
    time.sleep(0.1)
    assert time.monotonic() - began[0] < 30
assert signal.getsignal(signal.SIGTERM) is mine
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
assert ray.get(ray.remote(lambda: 1).remote()) == 1
print(f"gone after {time.monotonic() - began[0]:.1f} s", file=sys.stderr)
front = run_sweep(sweep, "users").front
assert len(front)
print("resumed")
"""


def test_ctrl_c_ends_the_sweep_and_leaves_the_users_ray(tmp_path: Path) -> None:
    settings = {"learning_rate": 0.1, "epochs": 12}
    fields = {
        "training": {"select": "nothing"},
        "random_baseline": False,
        "execution": {"storage": str(tmp_path / "runs")},
    }
    file = gold_sweep(tmp_path, examples=512, settings=settings, **fields)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, file], env=environment, capture_output=True, text=True, timeout=800
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "interrupted\nresumed\n"
    said = done.stderr.partition("ray is up\n")[2].splitlines()
    said = [line for line in said if not line.startswith(("searches:", "gone after"))]
    assert said == []
