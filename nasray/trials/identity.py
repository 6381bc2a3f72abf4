"""What makes two searches, trainings or runs the same one: settings, and the content of data and code.

Where data and code lie is no part of it: a project that was moved is the same project, and edited labels are other
data. Digests are hexadecimal digits of SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasray import registry
from nasray.errors import InvalidInput, printable, shown
from nasray.training.dataset import load_dataset
from nasray.trials.search_config import SearchConfig

if TYPE_CHECKING:
    from nasray.trials.evaluation import EvaluationConfig

DIGESTS = "digests"
"""In an identity: the digests of data and code, by what they are of."""

_SAMPLED_FILES, _SAMPLED_BYTES = 64, 2**20


def identity(config: SearchConfig | EvaluationConfig, table_digest: str | None = None) -> dict[str, Any]:
    """All that a search or a training depends on, as plain values without any path.

    Args:
        config: of the search or training.
        table_digest: of the table whose accuracies are looked up; no dataset is loaded then.

    Raises:
        InvalidInput: the dataset is not available.
    """
    dataset = None if table_digest else load_dataset(config.dataset, config.data_root)
    kinds = ("method", "space", "dataset") if isinstance(config, SearchConfig) else ("space", "dataset")
    names = [(kind, getattr(config, kind)) for kind in kinds if not (table_digest and kind == "dataset")]
    values = {name: value for name, value in config.to_dict().items() if name != "data_root"}
    return identity_of(values, names, dataset.digest if dataset else table_digest)


def identity_of(values: Mapping[str, Any], names: Iterable[tuple[str, str]], data_digest: str | None) -> dict[str, Any]:
    """An identity of plain values, as a sweep's.

    Args:
        values: all that it depends on, but where things lie.
        names: kind and name of all that may be a user's own code.
        data_digest: of the dataset, or of the table of accuracies.
    """
    code = {f"{kind} {registry.portable(name)}": registry.digest(kind, name) for kind, name in names}
    digests = {"data": data_digest, **{name: digest for name, digest in sorted(code.items()) if digest}}
    return {**without_folders(dict(values)), DIGESTS: digests}


def without_folders(value: Any) -> Any:
    """Plain values in which every ``file.py:NAME`` has lost its folders."""
    if isinstance(value, dict):
        return {name: without_folders(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(one) for one in value]
    return registry.portable(value) if isinstance(value, str) and _is_name(value) else value


def with_code(value: Any, code: Sequence[Path], run: object) -> Any:
    """Plain values in which every ``file.py:NAME`` is of a file that the caller gave: none that a run's folder names is
    ever loaded.

    Raises:
        InvalidInput: a file is not among them; says what to give.
    """
    if isinstance(value, dict):
        return {name: with_code(one, code, run) for name, one in value.items()}
    if isinstance(value, list):
        return [with_code(one, code, run) for one in value]
    if not (isinstance(value, str) and _is_code(value)):
        return value
    given = registry.given_by(code, value)
    if given is None:
        file = registry.portable(value).rpartition(":")[0]
        raise InvalidInput(
            f"{shown(registry.portable(value))} of {run} is a user's own code, which is not kept with the run. Give "
            f"its file: --code {printable(file)}, or code={shown(file)} in Python."
        )
    return given


def digest_columns(config: SearchConfig | EvaluationConfig, data_digest: str | None) -> dict[str, str | None]:
    """The columns of a row that tell data and code: of a training it is the space's and the dataset's, for it does not
    depend on what found the architecture.

    Args:
        config: of the search or training.
        data_digest: of the dataset, or of the table of accuracies; with a table the dataset has no code.
    """
    kinds = ["space", *(["method"] if isinstance(config, SearchConfig) else [])]
    named = config.dataset in registry.names("dataset") or registry.is_file(config.dataset)
    named = named or registry.is_value(config.dataset)
    if named or registry.source_of("dataset", config.dataset):
        kinds.append("dataset")
    code = {kind: digest for kind in sorted(kinds) if (digest := registry.digest(kind, getattr(config, kind)))}
    whole = hashlib.sha256(json.dumps(code).encode()).hexdigest()[:12]
    return {"dataset_digest": data_digest, "code_digest": whole if code else None}


def config_of_row(settings: str, known: Iterable[str], data_root: str | None) -> SearchConfig:
    """The config of the search that gave a candidate.

    Args:
        settings: the row's column of this name, an identity.
        known: names in the sweep, among them the files behind those that the row has without their folders.
        data_root: of the dataset.

    Raises:
        InvalidInput: a name that is not known, or values that no config accepts.
    """
    values = {name: value for name, value in json.loads(settings).items() if name != DIGESTS}
    named = {kind: registry.among(known, values[kind]) for kind in ("method", "space", "dataset")}
    return SearchConfig.of({**values, **named, "data_root": data_root})


@cache
def digest_of_files(path: str, verify: bool = False) -> str:
    """Digest of a file's content, or of a folder's: of the names and sizes of all its files, and of the contents of a
    sample of them, which is the same at every call.

    Args:
        path: local.
        verify: whether the contents of all files count.

    Raises:
        InvalidInput: nothing lies there, or it cannot be read.
    """
    root = Path(path).expanduser()
    try:
        if not root.is_dir():
            with root.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()[:12]
        sizes = {one.relative_to(root).as_posix(): one.stat().st_size for one in root.rglob("*") if one.is_file()}
        whole = hashlib.sha256(json.dumps(sorted(sizes.items())).encode())
        for name in sorted(sizes, key=_shuffled)[: None if verify else _SAMPLED_FILES]:
            with (root / name).open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest() if verify else file.read(_SAMPLED_BYTES))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror})") from None
    return whole.hexdigest()[:12]


def _shuffled(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _is_name(text: str) -> bool:
    """Whether it names something by the folder that it lies in."""
    return text.startswith("folder:/") or _is_code(text)


def _is_code(text: str) -> bool:
    path, colon, attribute = text.rpartition(":")
    return bool(colon) and path.endswith(".py") and attribute.isidentifier()
