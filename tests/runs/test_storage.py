from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from pyarrow import fs

from nasray.errors import InvalidInput
from nasray.runs import Storage, open_storage


@pytest.fixture(params=["local", "mock"])
def any_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return open_storage(tmp_path / "run")
    # Arrow's own file system in memory takes the way that is not the local one.
    return open_storage("mock:///bucket/run")


def test_what_is_written_is_read(any_storage: Storage) -> None:
    any_storage.write_bytes("folder/a.bin", b"one")
    any_storage.write_bytes("folder/a.bin", b"two")
    any_storage.write_bytes("b.bin", b"")
    assert any_storage.read_bytes("folder/a.bin") == b"two"
    assert any_storage.read_bytes("b.bin") == b""
    assert any_storage.child("folder").read_bytes("a.bin") == b"two"
    assert any_storage.exists("folder")
    assert any_storage.exists("folder/a.bin")
    assert not any_storage.exists("folder/b.bin")
    with pytest.raises(FileNotFoundError):
        any_storage.read_bytes("nothing.bin")


def test_listing_is_sorted_and_leaves_out_hidden_files_and_folders(any_storage: Storage) -> None:
    for name in ("t/b.parquet", "t/a.parquet", "t/a.json", "t/.hidden.parquet", "t/deeper/c.parquet", "top.json"):
        any_storage.write_bytes(name, b"x")
    assert any_storage.list("t", ".parquet") == ("t/a.parquet", "t/b.parquet")
    assert any_storage.list(".", ".json") == ("top.json",)
    assert any_storage.list("nowhere") == ()


def test_delete_and_move(any_storage: Storage) -> None:
    any_storage.write_bytes("a", b"x")
    any_storage.move("a", "b")
    assert not any_storage.exists("a")
    assert any_storage.read_bytes("b") == b"x"
    any_storage.delete("b")
    any_storage.delete("b")
    assert not any_storage.exists("b")
    with pytest.raises(FileNotFoundError):
        any_storage.move("b", "c")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/../../x", "/etc/x", "a//b", "a/", ".", "a\0b", "a\nb"])
def test_names_stay_inside(storage: Storage, name: str) -> None:
    for act in (storage.read_bytes, storage.exists, storage.delete, storage.child):
        with pytest.raises(InvalidInput, match="stays inside"):
            act(name)
    with pytest.raises(InvalidInput, match="stays inside"):
        storage.write_bytes(name, b"x")


def test_json_is_an_object(any_storage: Storage) -> None:
    any_storage.write_json("run.json", {"name": "größe", "n": 3})
    assert any_storage.read_json("run.json") == {"name": "größe", "n": 3}
    for text in (b"[1]", b"null", b"{", b"\xff"):
        any_storage.write_bytes("bad.json", text)
        with pytest.raises(InvalidInput, match=r"bad\.json.*expected a JSON object") as caught:
            any_storage.read_json("bad.json")
        assert "\n" not in str(caught.value)
    for value in ({"loss": float("nan")}, {"path": Path("x")}):
        with pytest.raises(InvalidInput, match=r"bad2\.json"):
            any_storage.write_json("bad2.json", value)
    assert not any_storage.exists("bad2.json")


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_bytes("a", b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        storage.write_bytes("a", b"new")
    assert storage.read_bytes("a") == b"old"
    assert os.listdir(tmp_path / "run") == ["a"]
    with pytest.raises(InvalidInput, match="No space left on device"):
        storage.check_writable()


def test_a_pickled_storage_and_its_string_open_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = open_storage("runs/../runs/digits").child("candidates")
    here.write_bytes("a", b"x")
    monkeypatch.chdir("/")
    assert str(here) == str(tmp_path / "runs/digits/candidates")
    for other in (pickle.loads(pickle.dumps(here)), open_storage(str(here)), open_storage(f"file://{here}")):
        assert other.read_bytes("a") == b"x"


def test_a_query_stays_at_the_end_of_a_uri() -> None:
    # from_uri takes S3 options from the query, without asking the network when the region is given.
    storage = open_storage("s3://bucket/runs?region=eu-central-1&endpoint_override=localhost:1")
    child = storage.child("digits")
    assert child.base == "bucket/runs/digits"
    assert str(child) == "s3://bucket/runs/digits?region=eu-central-1&endpoint_override=localhost:1"
    assert isinstance(pickle.loads(pickle.dumps(child)).filesystem, fs.S3FileSystem)


@pytest.mark.parametrize("where", ["", "  ", "ftp://host/x", "nonsense://x", "a\0b"])
def test_storage_that_cannot_be_opened(where: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_storage(where)
    assert "\n" not in str(caught.value)
    assert "s3://" in str(caught.value)


def test_storage_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for where in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nasray")):
        with pytest.raises(InvalidInput, match="cannot be written") as caught:
            open_storage(where).check_writable()
        assert str(where) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_storage_that_can_be_written_is_created_and_left_empty(tmp_path: Path) -> None:
    open_storage(tmp_path / "new" / "run").check_writable()
    assert os.listdir(tmp_path / "new" / "run") == []
