"""Where results lie: a local folder or an object store, behind the few operations that the tables need.

A worker gets the string, and opens it there: `str(storage)` is absolute, so it means the same folder on every
process of one machine, and on every machine when it is a URI or a shared mount.

Where the storage fails for a while, operations are tried again for as long as its `patience`: see `patience.py`.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote

from pyarrow import ArrowException, fs

from nasray.errors import InvalidInput, message
from nasray.runs.patience import patiently
from nasray.runs.processes import signature

# These show an object only when all of it has arrived, and know no folders. Everything else is written beside
# its place and moved there.
OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})

# What a URI may say of its storage. A secret in it would stand in run.json, in tables and in logs: all others are
# refused, and so are names and passwords before the host.
_PARAMETERS = frozenset(
    {
        *("region", "scheme", "endpoint_override", "allow_bucket_creation", "allow_delayed_open"),  # s3
        *("tls_ca_file_path", "tls_verify_certificates"),
        *("project_id", "retry_limit_seconds"),  # gs
        *("background_writes", "blob_storage_authority", "dfs_storage_authority", "enable_tls"),  # abfs
    }
)

_MOST_JSON = 64 * 2**20

T = TypeVar("T")


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
    patience: float = 0.0
    """Seconds for which an operation is tried again where the storage fails."""

    def __str__(self) -> str:
        return self.where

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.base.rstrip("/").rpartition("/")[2]

    def child(self, name: str) -> Storage:
        """The folder `name` inside this one; nothing is created."""
        path = self._path(name)
        if "://" not in self.where:
            return Storage(self.filesystem, path, f"{self.where.rstrip('/')}/{name}", self.patience)
        head, mark, query = self.where.partition("?")
        # In a URI a `%2e` of the name would be read as a dot, and a `?` would end its path.
        return Storage(self.filesystem, path, f"{head.rstrip('/')}/{quote(name)}{mark}{query}", self.patience)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a whole file or nothing: a reader sees what was there before or all of `data`."""
        path = self._path(name)

        def once() -> None:
            try:
                self._write(path, data)
            except FileNotFoundError:  # its temporary file was taken for a dead writer's
                self._write(path, data)

        self._patiently(f"write {name}", once)

    def _write(self, path: str, data: bytes) -> None:
        if self.filesystem.type_name in OBJECT_STORES:
            with self.filesystem.open_output_stream(path) as stream:
                stream.write(data)
            return
        folder = path.rpartition("/")[0]
        if self._is_local:
            real, base = os.path.realpath(folder), os.path.realpath(self.base)
            if os.path.commonpath([real, base]) != base:
                raise InvalidInput(f"{folder}: is a link that leaves {self}; expected a folder inside it")
        temporary = f"{folder}/{_hidden_name()}.tmp"
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
        path = self._path(name)

        def whole() -> bytes:
            with self.filesystem.open_input_stream(path, compression=None) as stream:
                return bytes(stream.read())

        return self._patiently(f"read {name}", whole)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON object, indented; InvalidInput where the value is not one (NaN is not JSON either)."""
        try:
            text = json.dumps(dict(value), indent=2, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"{name}: cannot be written as a JSON object: {message(error)}") from error
        self.write_bytes(name, (text + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object; InvalidInput where the file holds anything else.

        A name that occurs twice in an object, NaN and infinities are not JSON either; nor is more than 64 MiB.
        """
        self.check_size(name, _MOST_JSON)
        try:
            value = json.loads(self.read_bytes(name), object_pairs_hook=_each_name_once, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{self}/{name}: not JSON ({message(error)}); expected a JSON object") from error
        if not isinstance(value, dict):
            raise InvalidInput(f"{self}/{name}: holds a JSON {type(value).__name__}; expected a JSON object")
        return value

    def check_size(self, name: str, most: int) -> None:
        """Raise InvalidInput if this name is not a file's, or the file has more than `most` bytes."""
        path = self._path(name)
        info = self._patiently(f"look for {name}", lambda: self.filesystem.get_file_info(path))
        if info.type in (fs.FileType.Directory, fs.FileType.Unknown):  # such as a pipe, which never ends
            raise InvalidInput(f"{self}/{name}: is no file")
        if info.size is not None and info.size > most:
            raise InvalidInput(f"{self}/{name}: has {info.size} bytes; expected at most {most}")

    def has_at_most(self, name: str, most: int) -> bool:
        """Whether a name is a file's of at most `most` bytes, or nothing's."""
        try:
            self.check_size(name, most)
        except InvalidInput:
            return False
        return True

    def list(self, folder: str, suffix: str = "") -> tuple[str, ...]:
        """Sorted names, relative to this storage, of the files directly in `folder` that end in `suffix`.

        "." is the storage's own folder. Hidden files are left out: they are writes under way. A folder that
        does not exist holds nothing.
        """
        path = self.base if folder == "." else self._path(folder)
        prefix = "" if folder == "." else f"{folder}/"
        # A file that vanishes while the folder is listed comes back as NotFound, which is no File either.
        names = (info.base_name for info in self._entries(path) if info.type == fs.FileType.File)
        return tuple(sorted(f"{prefix}{n}" for n in names if n.endswith(suffix) and not n.startswith(".")))

    def folders(self, folder: str | None = None) -> tuple[str, ...]:
        """Sorted names of the folders directly in `folder`, or here; a folder that does not exist holds nothing."""
        found = self._entries(self.base if folder is None else self._path(folder))
        return tuple(sorted(info.base_name for info in found if info.type == fs.FileType.Directory))

    def _entries(self, path: str) -> Sequence[fs.FileInfo]:
        """What lies directly in a folder; nothing if there is no folder, or no longer."""
        selector = fs.FileSelector(path, allow_not_found=True)
        try:
            found: Sequence[fs.FileInfo] = self._patiently(
                f"list {path}", lambda: self.filesystem.get_file_info(selector)
            )
        except FileNotFoundError:  # it was deleted while it was listed, which pyarrow does not allow for
            return []
        return found

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of this name."""
        path = self._path(name)
        info = self._patiently(f"look for {name}", lambda: self.filesystem.get_file_info(path))
        return bool(info.type != fs.FileType.NotFound)

    def delete(self, name: str) -> None:
        """Delete a file; one that is already gone is no error, since another process may do the same."""
        path = self._path(name)
        self._patiently(f"delete {name}", lambda: self._remove(path))

    def delete_folder(self, name: str) -> None:
        """Delete a folder with all that lies in it; one that is not there is no error."""
        path = self._path(name)

        def remove() -> None:
            try:
                self.filesystem.delete_dir(path)
            except FileNotFoundError:
                pass
            except OSError:
                if self.filesystem.get_file_info(path).type != fs.FileType.NotFound:
                    raise

        self._patiently(f"delete {name}", remove)

    def move(self, name: str, to: str) -> None:
        """Rename a file; FileNotFoundError where it is gone. Object stores copy, then delete."""
        path, target = self._path(name), self._path(to)
        self._patiently(f"move {name}", lambda: self._replace(path, target))

    def check_writable(self) -> None:
        """Create the folder and a file in it, delete the file; InvalidInput with the reason if that fails.

        A bucket is created where the URI says `allow_bucket_creation=true`. Nothing is tried twice: this is how a run
        begins, and what cannot be written then is most likely meant otherwise.
        """
        probe = self._path(f"{_hidden_name()}.probe")
        try:
            if ("allow_bucket_creation", "true") in parse_qsl(self.where.partition("?")[2]):
                self.filesystem.create_dir(self.base.partition("/")[0])
            self._write(probe, b"")
            self._remove(probe)
        except (OSError, ArrowException) as error:
            raise InvalidInput(
                f"storage {self}: cannot be written ({message(error)}); "
                "expected a folder that you may write, or a URI such as s3://bucket/folder"
            ) from error

    def _patiently(self, what: str, act: Callable[[], T]) -> T:
        return patiently(act, what=f"{what} in {self}", seconds=self.patience)

    @property
    def _is_local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def _path(self, name: str) -> str:
        parts = name.split("/")
        if not all(parts) or "." in parts or ".." in parts or any(ord(letter) < 32 for letter in name):
            raise InvalidInput(f"name {name!r}: expected a name that stays inside {self}, such as 'folder/file'")
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


def _hidden_name() -> str:
    """Name of a file that this process writes and nobody reads: `leftovers.py` deletes it after a kill."""
    return f".{uuid.uuid4().hex}.{signature()}"


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice in an object")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def open_storage(where: str | Path, *, patience: float = 0.0) -> Storage:
    """Open a local path or a URI (`file://`, `s3://`, `gs://`, whatever pyarrow's file systems know).

    Nothing is created: `check_writable` does, and so does the first write. A URI that pyarrow cannot open, or one
    that holds credentials, raises InvalidInput: credentials come from the environment, as the cloud's own tools
    take them. patience: seconds for which operations are tried again where the storage fails.
    """
    text = str(where)
    if not text.strip() or any(ord(letter) < 32 for letter in text):
        raise InvalidInput(f"storage {text!r}: expected a folder or a URI such as s3://bucket/folder")
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        path = Path(text).expanduser().absolute().as_posix()
        # `..` is resolved in the text only: a link inside a shared mount must stay what the user called it.
        path = os.path.normpath(path)
        return Storage(fs.LocalFileSystem(), path, path, patience)
    _check_no_secrets(text)
    try:
        filesystem, base = fs.FileSystem.from_uri(text)
    except (OSError, ValueError, ArrowException) as error:
        raise InvalidInput(
            f"storage {text}: cannot be opened ({message(error)}); "
            "expected a local folder or a file://, s3:// or gs:// URI"
        ) from error
    if ".." in base.split("/") or any(ord(letter) < 32 for letter in base):
        raise InvalidInput(f"storage {text}: expected a URI without '..' and control characters")
    return Storage(filesystem, base, text, patience)


def _check_no_secrets(uri: str) -> None:
    """InvalidInput where a URI may hold a secret, which the message does not repeat."""
    head, _, query = uri.partition("?")
    scheme, _, rest = head.partition("://")
    authority = rest.partition("/")[0]
    user, at, host = authority.rpartition("@")
    # A secret with a slash in it ends the authority early: then there is a colon, and no port behind it.
    port = host.partition(":")[2]
    if ":" in user or (at and scheme == "s3") or (port and not port.isdecimal()):
        raise InvalidInput(
            f"storage {scheme}:// with credentials in it: they would be written down with the run; give the URI "
            "without them, and the credentials in the environment (for s3:// AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY)"
        )
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name not in _PARAMETERS:
            raise InvalidInput(
                f"storage {head} with the parameter {name!r:.40}: expected one of {', '.join(sorted(_PARAMETERS))}; "
                "credentials come from the environment"
            )
    if "#" in uri:
        raise InvalidInput(f"storage {head.partition('#')[0]} with a '#': expected a URI without one")
