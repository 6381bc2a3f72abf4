"""Everything that is found by its name: what packages register, users' own files, and values of a caller's own."""

from nasray.registry.names import (
    KINDS,
    absolute,
    absolute_path,
    among,
    code_files,
    digest,
    find,
    given_by,
    is_file,
    listed,
    names,
    portable,
    source_of,
)
from nasray.registry.user_files import is_of_a_signal, own_failure
from nasray.registry.values import is_value, keep, named, values_of

__all__ = [
    "KINDS",
    "absolute",
    "absolute_path",
    "among",
    "code_files",
    "digest",
    "find",
    "given_by",
    "is_file",
    "is_of_a_signal",
    "is_value",
    "keep",
    "listed",
    "named",
    "names",
    "own_failure",
    "portable",
    "source_of",
    "values_of",
]
