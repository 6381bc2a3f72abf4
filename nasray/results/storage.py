"""Where results lie: a local folder or an object store, behind the few operations that the tables need.

A worker gets the string, and opens it there: `str(storage)` is absolute, so it means the same folder on every
process of one machine, and on every machine when it is a URI or a shared mount.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import ArrowException, fs

from nasray.errors import InvalidInput

# These show an object only when all of it has arrived, and know no folders. Everything else is written beside
# its place and moved there.
_OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})


@dataclass(frozen=True)
class Storage:
    """A folder on a pyarrow file system, made by `open_storage`. It can be pickled.

    Names are relative to the folder, with `/` between their parts. A name that is empty, absolute or leaves
    the folder raises InvalidInput; reading what is not there raises FileNotFoundError.
    """

    filesystem: fs.FileSystem
    base: str
    """The folder's path on the file system."""
    where: str
    """The absolute path or URI that opens the same folder again."""

    def __str__(self) -> str:
        return self.where

    def child(self, name: str) -> Storage:
        """The folder `name` inside this one; nothing is created."""
        head, mark, query = self.where.partition("?") if "://" in self.where else (self.where, "", "")
        return Storage(self.filesystem, self._path(name), f"{head.rstrip('/')}/{name}{mark}{query}")

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a whole file or nothing: a reader sees what was there before or all of `data`."""
        path = self._path(name)
        if self.filesystem.type_name in _OBJECT_STORES:
            with self.filesystem.open_output_stream(path) as stream:
                stream.write(data)
            return
        folder = path.rpartition("/")[0]
        temporary = f"{folder}/.{uuid.uuid4().hex}.tmp"
        self.filesystem.create_dir(folder, recursive=True)
        try:
            if self._is_local:
                with open(temporary, "wb") as file:
                    file.write(data)
                    file.flush()
                    # Without this a crash of the machine can leave the new name on an empty file.
                    os.fsync(file.fileno())
            else:
                with self.filesystem.open_output_stream(temporary) as stream:
                    stream.write(data)
            self._replace(temporary, path)
        except BaseException:
            self._remove(temporary)
            raise

    def read_bytes(self, name: str) -> bytes:
        """The content of a file; FileNotFoundError where there is none."""
        with self.filesystem.open_input_stream(self._path(name), compression=None) as stream:
            return bytes(stream.read())

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON object, indented; InvalidInput where the value is not one (NaN is not JSON either)."""
        try:
            text = json.dumps(dict(value), indent=2, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"{name}: cannot be written as a JSON object: {_reason(error)}") from error
        self.write_bytes(name, (text + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object; InvalidInput where the file holds anything else."""
        try:
            value = json.loads(self.read_bytes(name))
        except ValueError as error:
            raise InvalidInput(f"{self}/{name}: not JSON ({_reason(error)}); a JSON object is expected") from error
        if not isinstance(value, dict):
            raise InvalidInput(f"{self}/{name}: holds a JSON {type(value).__name__}; a JSON object is expected")
        return value

    def list(self, folder: str, suffix: str = "") -> tuple[str, ...]:
        """Sorted names, relative to this storage, of the files directly in `folder` that end in `suffix`.

        "." is the storage's own folder. Hidden files are left out: they are writes under way. A folder that
        does not exist holds nothing.
        """
        path = self.base if folder == "." else self._path(folder)
        prefix = "" if folder == "." else f"{folder}/"
        # A file that vanishes while the folder is listed comes back as NotFound, which is no File either.
        found = self.filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        names = (info.base_name for info in found if info.type == fs.FileType.File)
        return tuple(sorted(f"{prefix}{n}" for n in names if n.endswith(suffix) and not n.startswith(".")))

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of this name."""
        return bool(self.filesystem.get_file_info(self._path(name)).type != fs.FileType.NotFound)

    def delete(self, name: str) -> None:
        """Delete a file; one that is already gone is no error, since another process may do the same."""
        self._remove(self._path(name))

    def move(self, name: str, to: str) -> None:
        """Rename a file; FileNotFoundError where it is gone. Object stores copy, then delete."""
        self._replace(self._path(name), self._path(to))

    def check_writable(self) -> None:
        """Create the folder and a file in it, delete the file; InvalidInput with the reason if that fails."""
        probe = f".{uuid.uuid4().hex}.probe"
        try:
            self.write_bytes(probe, b"")
            self.delete(probe)
        except (OSError, ArrowException) as error:
            raise InvalidInput(
                f"storage {self}: cannot be written ({_reason(error)}); "
                "a folder that you may write, or a URI such as s3://bucket/folder, would be accepted"
            ) from error

    @property
    def _is_local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def _path(self, name: str) -> str:
        parts = name.split("/")
        if not all(parts) or "." in parts or ".." in parts or any(ord(letter) < 32 for letter in name):
            raise InvalidInput(f"name {name!r}: a name that stays inside {self} is expected, such as 'folder/file'")
        return f"{self.base.rstrip('/')}/{name}"

    def _replace(self, path: str, to: str) -> None:
        if self._is_local:
            os.replace(path, to)
        else:
            self.filesystem.move(path, to)

    def _remove(self, path: str) -> None:
        try:
            self.filesystem.delete_file(path)
        except FileNotFoundError:
            pass
        except OSError:
            # Object stores differ in how they say that it is not there.
            if self.filesystem.get_file_info(path).type != fs.FileType.NotFound:
                raise


def open_storage(where: str | Path) -> Storage:
    """Open a local path or a URI (`file://`, `s3://`, `gs://`, whatever pyarrow's file systems know).

    Nothing is created: `check_writable` does, and so does the first write. A URI that pyarrow cannot open
    raises InvalidInput.
    """
    text = str(where)
    if not text.strip() or "\0" in text:
        raise InvalidInput(f"storage {text!r}: a folder or a URI such as s3://bucket/folder is expected")
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        path = Path(text).expanduser().absolute().as_posix()
        # `..` is resolved in the text only: a link inside a shared mount must stay what the user called it.
        path = os.path.normpath(path)
        return Storage(fs.LocalFileSystem(), path, path)
    try:
        filesystem, base = fs.FileSystem.from_uri(text)
    except (OSError, ValueError, ArrowException) as error:
        raise InvalidInput(
            f"storage {text}: cannot be opened ({_reason(error)}); "
            "a local folder or a file://, s3:// or gs:// URI would be accepted"
        ) from error
    return Storage(filesystem, base, text)


def _reason(error: BaseException) -> str:
    strerror = getattr(error, "strerror", None)
    text = strerror or str(error) or type(error).__name__
    return str(text).strip().splitlines()[0]
