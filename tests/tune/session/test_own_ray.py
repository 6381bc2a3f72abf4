"""A Ray of our own: its folder, what keeps it from starting, and that nothing of it is left however its driver ends."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from nasray.errors import InvalidInput
from nasray.tune.session import own_ray as module
from nasray.tune.session.own_ray import LONGEST, private_folder

ROOT = Path(__file__).parents[3]
DRIVER = """
import signal, sys, time
import ray
from nasray.cli.signals import ends_on_signals
from nasray.tune.session.connection import connection

with ends_on_signals(), connection(None, "run"):
    @ray.remote
    class Busy:
        def work(self):
            time.sleep(600)

    busy = Busy.remote()
    work = busy.work.remote()
    ray.wait([work], timeout=1)
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nr", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_the_folder_is_its_owners_alone(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short_folder.chmod(0o777)
    monkeypatch.setenv("RAY_TMPDIR", str(short_folder))
    folder = private_folder()
    assert folder.parent == short_folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    short_folder.chmod(0o700)
    assert private_folder() == short_folder


def test_a_long_tmpdir_is_passed_over_and_a_long_ray_tmpdir_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder = private_folder()
    folder.rmdir()
    assert folder.parent == Path("/tmp")
    assert len(str(folder)) <= LONGEST
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    with pytest.raises(InvalidInput, match=r"RAY_TMPDIR cannot hold .* longer than the \d+ bytes .* short path"):
        private_folder()
    assert list(long.iterdir()) == []


@pytest.mark.parametrize("what", ["missing", "a file", "full"])
def test_a_folder_that_cannot_hold_it_is_named(short_folder: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    where = short_folder if what == "full" else short_folder / "x"
    if what == "a file":
        where.touch()
    monkeypatch.setattr(module, "FREE_BYTES", 2**60 if what == "full" else 1)
    monkeypatch.setenv("RAY_TMPDIR", str(where))
    reason = {"missing": "No such file", "a file": "Not a directory", "full": "MiB free"}[what]
    with pytest.raises(InvalidInput, match=f"RAY_TMPDIR cannot hold Ray's files .*{reason}.*Set RAY_TMPDIR to a"):
        private_folder()


def alive_in(folder: Path) -> list[str]:
    """Processes whose environment or command names a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if any(str(folder) in one for one in told) and process.pid != os.getpid():
            found.append(process.name())
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("how", "code"),
    [("group TERM", 143), ("group INT", -signal.SIGINT), ("KILL", -signal.SIGKILL), ("every process TERM", 143)],
)
def test_however_the_driver_ends_nothing_is_left(short_folder: Path, how: str, code: int) -> None:
    environment = {**os.environ, "RAY_TMPDIR": str(short_folder)}
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "up\n"
    family = psutil.Process(driver.pid).children(recursive=True)
    names = {one.name() for one in family}
    assert {"gcs_server", "raylet"} <= names
    # None of Ray's gets what the driver's group gets.
    assert driver.pid not in {os.getpgid(one.pid) for one in family}
    began = time.monotonic()
    if how == "KILL":
        driver.kill()
    elif how == "every process TERM":  # as systemd does to a control group
        for one in [*family, psutil.Process(driver.pid)]:
            with suppress(psutil.NoSuchProcess):
                one.terminate()
    else:
        os.killpg(driver.pid, signal.SIGTERM if "TERM" in how else signal.SIGINT)
    said = driver.communicate(timeout=60)[1]
    seconds = time.monotonic() - began
    assert driver.returncode == code, said
    assert seconds < 30
    if how.startswith("group"):
        name = "SIGTERM" if "TERM" in how else "SIGINT"
        assert f"nasray: stopping on {name}. Run the same command again to resume." in said
    deadline = time.monotonic() + 30
    while left := alive_in(short_folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    print(f"\n{how}: {seconds:.1f} s to the driver's end")


@pytest.mark.slow
def test_it_starts_whatever_python_s_path_holds_and_however_long_that_of_temporary_files_is(tmp_path: Path) -> None:
    # An empty entry is the folder that one is in. Something prints as Python starts.
    (tmp_path / "sitecustomize.py").write_text("print('hello from sitecustomize')\nprint([1])\n")
    script = "from nasray.tune.session.connection import connection\nwith connection(None, 'run'): print('connected')"
    # With one letter more than a Unix socket in a folder of multiprocessing's allows.
    long = tmp_path / ("t" * (module.LONGEST_TEMPORARY - len(os.fsencode(tmp_path))))
    long.mkdir()
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:", "RAY_TMPDIR": "", "TMPDIR": str(long)}
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "connected" in ended.stdout
    assert list(long.iterdir()) == []


def test_a_process_that_ends_at_once_leaves_no_folder_and_its_last_line_is_told(
    short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (short_folder / "sitecustomize.py").write_text(
        "import os\nos.write(2, b'Traceback ' * 99 + b'\\nE: no luck\\n')\nos._exit(3)"
    )
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(short_folder))
    monkeypatch.setattr(tempfile, "tempdir", str(short_folder))
    with module.own_ray("run") as ray, pytest.raises(InvalidInput, match=r"did not start .*no luck"):
        ray.connect()
    assert list(short_folder.glob("nr-*")) == []


def test_it_is_called_by_a_command_without_a_path_where_that_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for python, called in (("/a/venv/bin/python3.11", "python3.11"), ("/a:b/venv/bin/python", "/a:b/venv/bin/python")):
        monkeypatch.setattr(sys, "executable", python)
        assert module._python() == called
    monkeypatch.chdir("/usr")
    monkeypatch.setenv("PYTHONPATH", "lib::/opt/x")
    found = module._child_environment(Path("/run/nr-1"))
    assert found["RAY_TMPDIR"] == "/run/nr-1"
    assert found["PYTHONPATH"] == "/usr/lib:/usr:/opt/x"
    assert found["PATH"].startswith("/a:b/venv/bin:")
