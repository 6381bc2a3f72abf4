"""Nothing private of Ray's is used in the room that holds it, so that a newer Ray changes nothing underneath."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import nasray.tune

ROOM = Path(nasray.tune.__file__).parent


def private(source: str) -> Iterator[str]:
    """Every use of a name that begins with an underscore: imports of Ray's, keywords, attributes but of self, texts."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "ray":
                paths = [f"{module}.{one.name}" for one in names]
            case ast.Import(names=names):
                paths = [one.name for one in names if one.name.split(".")[0] == "ray"]
            case ast.keyword(arg=str(name)) if _is_private(name):
                yield f"{node.lineno}: keyword {name}"
                continue
            case ast.Attribute(value=value, attr=name) if _is_private(name):
                if not (isinstance(value, ast.Name) and value.id in ("self", "cls")):
                    yield f"{node.lineno}: {ast.unparse(node)}"
                continue
            case ast.Call(func=ast.Name(id=called), args=[_, ast.Constant(value=str(name)), *_]):
                if called in ("getattr", "setattr", "hasattr") and _is_private(name):
                    yield f"{node.lineno}: {ast.unparse(node)}"
                continue
            case ast.Constant(value=str(value)) if value.startswith("_ray") or "._private" in value:
                yield f"{node.lineno}: {value!r:.60}"
                continue
            case _:
                continue
        yield from (f"{node.lineno}: {path}" for path in paths if any(map(_is_private, path.split("."))))


def _is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


@pytest.mark.parametrize("name", sorted(str(path.relative_to(ROOM)) for path in ROOM.rglob("*.py")))
def test_a_file_uses_what_ray_documents(name: str) -> None:
    assert list(private((ROOM / name).read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import ray._private.worker",
        "from ray._private import ray_constants",
        "from ray.train.v2._internal.exceptions import X",
        "from ray.tune import _x",
        "ray.init(_temp_dir='x')",
        "tuner._local_tuner",
        "super()._start()",
        "trial.run._x.y",
        "getattr(tuner, '_local_tuner', None)",
        "ray.init(namespace='_ray_internal_x')",
        "logging.getLogger('ray._private.worker')",
    ],
)
def test_the_test_finds_them(source: str) -> None:
    assert len(list(private(source))) == 1


@pytest.mark.parametrize("source", ["self._x", "cls._x", "import ray.tune", "a.__class__", "from nasray import _x"])
def test_and_nothing_else(source: str) -> None:
    assert list(private(source)) == []
