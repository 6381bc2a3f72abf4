"""Storage that fails for a while is tried again; what does not pass by itself is said at once."""

from __future__ import annotations

import errno
import logging
from typing import Any

import pytest

from nasray.errors import InvalidInput, StorageFailure
from nasray.runs import open_storage, patience
from nasray.runs.patience import EVENT, patiently
from tests.object_store import BEARS


class Clock:
    """Time that passes only while one sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(patience, "time", clock)
    return clock


class Failing:
    """Fails with these errors one after the other, then gives 7."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return 7


# As pyarrow says it, from a real server of moto's and a proxy before it.
BUSY = OSError("When completing multiple part upload: AWS Error SLOW_DOWN during PutObject operation: HTTP status 503")
CUT = OSError("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 52, Server returned nothing")


def test_what_passes_is_tried_again_longer_and_longer_apart(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing(BUSY, CUT, OSError(errno.EIO, "I/O error"), OSError(errno.ESTALE, "stale"), BUSY, CUT, BUSY)
    with caplog.at_level(logging.WARNING, "nasray"):
        assert patiently(failing, what="write x", seconds=120.0) == 7
    assert clock.pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    assert [len(record.getMessage().splitlines()) for record in caplog.records] == [1] * 7
    assert getattr(caplog.records[0], EVENT)[0] == "storage_retried"


def test_it_ends(clock: Clock) -> None:
    failing = Failing(*[BUSY] * 1000)
    with pytest.raises(StorageFailure, match=r"cannot write x .*SLOW_DOWN"):
        patiently(failing, what="write x", seconds=60.0)
    assert clock.now == pytest.approx(60.0)
    assert failing.calls < 15


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EROFS, "Read-only file system"),
        PermissionError(errno.EACCES, "Permission denied"),
        NotADirectoryError(errno.ENOTDIR, "Not a directory"),
        OSError("AWS Error ACCESS_DENIED during PutObject operation: Access Denied"),
        OSError("AWS Error NO_SUCH_BUCKET during CreateMultipartUpload operation: it does not exist"),
        OSError("AWS Error SIGNATURE_DOES_NOT_MATCH during PutObject operation"),
        OSError("google::cloud::Status(PERMISSION_DENIED: no)"),
    ],
)
def test_what_does_not_pass_is_said_at_once(error: Exception, clock: Clock) -> None:
    failing = Failing(error)
    with pytest.raises(StorageFailure) as caught:
        patiently(failing, what="write x", seconds=120.0)
    assert failing.calls == 1
    assert "\n" not in str(caught.value)
    assert ("full" in str(caught.value)) == (getattr(error, "errno", None) == errno.ENOSPC)


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "gone"), InvalidInput("no name")])
def test_what_is_no_failure_of_the_storage_stays_what_it_is(error: Exception, clock: Clock) -> None:
    with pytest.raises(type(error)):
        patiently(Failing(error), what="read x", seconds=120.0)
    assert clock.pauses == []


@pytest.mark.slow
def test_an_object_store_that_answers_nothing_or_is_busy(object_store: Any, caplog: pytest.LogCaptureFixture) -> None:
    uri = object_store.uri("patience/run", "&allow_bucket_creation=true")
    open_storage(uri).check_writable()
    storage = open_storage(uri, patience=60.0)
    storage.write_bytes("a", b"old")
    # More than pyarrow's own client bears, but not more than we do.
    object_store.failed = 0
    object_store.fails = lambda number, path: (
        None if object_store.failed >= BEARS + 4 else "busy" if number % 2 else "cut"
    )
    with caplog.at_level(logging.WARNING, "nasray"):
        storage.write_bytes("a", b"new")
    assert any("storage_retried" in record.getMessage() for record in caplog.records)
    assert object_store.failed == BEARS + 4
    assert storage.read_bytes("a") == b"new"


def test_a_run_that_begins_on_storage_that_is_not_there_does_not_wait(object_store: Any) -> None:
    with pytest.raises(InvalidInput, match="NO_SUCH_BUCKET") as caught:
        open_storage(object_store.uri("nowhere/run"), patience=600.0).check_writable()
    assert "\n" not in str(caught.value)
