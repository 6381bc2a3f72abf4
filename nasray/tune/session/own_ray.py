"""A Ray of our own: nobody else reaches it, and it ends with its driver.

- **In a process session of its own** (ray_process.py): a signal to the driver's process group, which ``timeout``, Slurm
  and a terminal send, does not reach Ray's processes under the driver that is still ending. Ray ends when the driver
  closes a pipe, or is gone.
- **In a private folder**: Ray's own folders can be written by every user, sockets among them, so they lie in one of
  mode 0700: RAY_TMPDIR if that is one, else a new one. It is removed at the end; RAY_TMPDIR stays, with Ray's logs.
- **On loopback alone**: Ray lets its processes listen on every interface, for other nodes to join, except where Ray
  clusters are switched off, as they are by default on macOS and Windows. The switch works on Linux too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nasray.errors import InvalidInput
from nasray.tune.resources.room import own_resources
from nasray.tune.session.token import private_token

SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""In the environment; Ray reads it when it is imported. Where a user has set it, what it says holds."""
LONGEST = 107 - len("/ray/session_2026-11-26_13-44-49_816397_4194304/sockets/plasma_store.1")
"""Letters of a folder below which the paths of Ray's sockets have at most the 107 that a Unix socket's may have."""
LONGEST_TEMPORARY = 107 - len("/pymp-12345678/listener-12345678")
"""The same of the folder for temporary files, in which Python's multiprocessing has sockets for Ray's dashboard."""
FREE_BYTES = 50 * 2**20
"""What Ray's folder must have free: its logs, and what does not fit into the object store."""
ENDING_SECONDS = 15.0
"""How long Ray may take to end before it is killed."""


class OwnRay:
    """A Ray that starts beside this process.

    Args:
        run: name of the run, for events.

    Raises:
        InvalidInput: something that Ray needs of this machine is missing.
    """

    def __init__(self, run: str) -> None:
        private_token(run, create=True)
        self.folder = private_folder()
        self._keep = bool(os.environ.get("RAY_TMPDIR"))
        has = own_resources()
        told = {"run": run, "cpus": int(has["CPU"]), "gpus": int(has["GPU"])}
        told |= {"remove": not self._keep, "folder": os.getcwd()}
        program = Path(__file__).with_name("ray_process.py")
        self._said = self.folder / "nasray-start.log"
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [_python(), "-P", program.name],
                executable=sys.executable,
                cwd=program.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={SWITCH: "0", **_child_environment(self.folder)},
                start_new_session=True,
            )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # what ended it is in its log
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            self._process.stdin.flush()

    def connect(self, **arguments: Any) -> Any:
        """Connect this process to it once it is up; gives what ray.init gives.

        Raises:
            InvalidInput: it does not come up.
        """
        import ray

        address = self._address()
        # Ray replaces 127.0.0.1 and localhost in an address by this machine's own, on which nothing listens. It leaves
        # 0.0.0.0 alone, which leads to loopback too, and which no name server has to be asked for. It is read from a
        # file, as that of `ray start` is: only of a cluster that is found so does Ray take that it wants the token.
        with tempfile.TemporaryDirectory(prefix="nr-", dir=self.folder) as found:
            file = Path(found, "ray", "ray_current_cluster")
            file.parent.mkdir()
            file.write_text(address.replace("127.0.0.1", "0.0.0.0"))
            with _environment(RAY_TMPDIR=found, RAY_ADDRESS=None):
                return ray.init(**arguments)

    def end(self) -> None:
        """End it, and wait until its processes have gone."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(timeout=ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if not self._keep:  # as the process itself does, unless something ended it before
            shutil.rmtree(self.folder, ignore_errors=True)
        process.stdout.close()

    def _address(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = _understood(line)
            if "address" in told:
                return str(told["address"])
            if "error" in told:
                break
        else:
            told = {"error": "\n".join(_lines(self._said.read_text(errors="replace"))[-1:])}
        lines = _lines(str(told["error"])) or ["its process ended"]
        reason = lines[-1] if lines[0].endswith(":") else lines[0]
        raise InvalidInput(
            f"Ray did not start on this machine ({reason}). To see its logs, set RAY_TMPDIR to a folder of your own, "
            "and run the same command again."
        )


def _understood(line: bytes) -> dict[str, Any]:
    """What a line of the process tells; nothing where something else has printed it."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _python() -> str:
    """What the process that holds Ray is called by: without a path, where PATH can tell that."""
    python = Path(sys.executable)
    return str(python) if os.pathsep in str(python.parent) else python.name


def _child_environment(folder: Path) -> dict[str, str]:
    """This process's environment, for one that starts in another folder and finds its virtual environment by PATH.

    Args:
        folder: for Ray's files, and for temporary ones where the path of their folder is too long.
    """
    values = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    values["RAY_TMPDIR"] = str(folder)
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_TEMPORARY:
        values["TMPDIR"] = str(folder)
    values["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), values.get("PATH", os.defpath)])
    if values.get("PYTHONPATH"):
        values["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, values["PYTHONPATH"].split(os.pathsep)))
    return values


@contextmanager
def own_ray(run: str) -> Iterator[OwnRay]:
    """A Ray that starts now, beside this process, and ends with the context."""
    ray = OwnRay(run)
    try:
        yield ray
    finally:
        ray.end()


def private_folder() -> Path:
    """A folder for a Ray's files that nobody else can enter.

    RAY_TMPDIR itself where it is such a folder; else a new one, in RAY_TMPDIR if that is set, or in TMPDIR or /tmp.

    Raises:
        InvalidInput: there is no room, the path is too long, or nothing may be written there.
    """
    named = os.environ.get("RAY_TMPDIR")
    reasons = []
    for parent in [named] if named else dict.fromkeys([tempfile.gettempdir(), "/tmp"]):
        made = True
        try:
            if named and _is_private(named):
                made, folder = False, Path(named).absolute()
                tempfile.TemporaryFile(dir=folder).close()
            else:
                folder = Path(tempfile.mkdtemp(prefix="nr-", dir=os.path.abspath(parent)))
        except OSError as error:
            reasons.append(f"{_short(parent)}: {error.strerror or error}")
            continue
        found = os.statvfs(folder)
        free = found.f_bavail * found.f_frsize
        if len(os.fsencode(folder)) > LONGEST:
            limit = LONGEST - len("/nr-12345678")
            reasons.append(f"{_short(parent)}: longer than the {limit} bytes that leave room for Ray's sockets")
        elif free < FREE_BYTES:
            reasons.append(
                f"{_short(parent)}: {free / 2**20:.0f} MiB free of the {FREE_BYTES / 2**20:.0f} that Ray needs"
            )
        else:
            return folder
        if made:
            folder.rmdir()
    where = "RAY_TMPDIR" if named else "The folder for temporary files"
    raise InvalidInput(
        f"{where} cannot hold Ray's files ({'; '.join(reasons)}). Set RAY_TMPDIR to a writable folder with a short "
        "path."
    )


def _is_private(path: str) -> bool:
    found = os.stat(path)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _short(path: str) -> str:
    return path if len(path) <= 60 else f"{path[:40]}... ({len(path)} letters)"


@contextmanager
def _environment(**values: str | None) -> Iterator[None]:
    """Within it the environment has these values, or none."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
