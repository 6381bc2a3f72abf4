from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nasray import registry
from nasray.errors import InvalidInput
from nasray.spaces import CellSpace
from search_spaces.architectures.darts import DARTS


def test_nasrays_own_parts_come_through_entry_points():
    assert registry.find("space", "darts") is DARTS
    assert {"darts", "gold"} <= set(registry.names("space"))
    assert {"darts", "gold_nas", "random"} <= set(registry.names("method"))
    assert {"digits", "cifar10", "fashion_mnist"} <= set(registry.names("dataset"))


def test_an_unknown_name_is_named_with_the_nearest_or_with_those_that_are():
    with pytest.raises(InvalidInput, match=r"^unknown space 'dart': did you mean 'darts'\?$"):
        registry.find("space", "dart")
    with pytest.raises(InvalidInput) as error:
        registry.find("space", "xyz")
    message = str(error.value)
    assert "darts" in message
    assert "gold" in message
    assert message.endswith("or FILE.py:NAME")
    assert "\n" not in message


def test_an_unknown_kind_has_no_names():
    assert registry.names("planet") == []
    with pytest.raises(
        InvalidInput, match=r"^unknown planet 'earth': nothing is registered.* Give it as FILE\.py:NAME\.$"
    ):
        registry.find("planet", "earth")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "types.py"  # a name of the standard library's
    path.write_text(
        "import types\n"
        "from dataclasses import replace\n"
        "from search_spaces.architectures.darts import DARTS\n"
        "MINE = replace(DARTS, name='mine', search_channels=8)\n"
        "SAME = types.MappingProxyType\n"
    )
    return path


def test_a_file_opens_the_same_door(file: Path):
    mine = registry.find("space", f"{file}:MINE")
    assert isinstance(mine, CellSpace)
    assert mine.name == "mine"
    assert registry.find("space", f"{file}:MINE") is mine
    assert registry.find("thing", f"{file}:SAME") is __import__("types").MappingProxyType


def test_a_relative_path_means_the_same_everywhere(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(file.parent)
    name = registry.absolute("types.py:MINE")
    assert name == f"{file}:MINE"
    assert registry.find("space", "./types.py:MINE") is registry.find("space", name)
    monkeypatch.setenv("HOME", str(file.parent))
    assert registry.absolute("~/types.py:MINE") == name
    assert registry.absolute("darts") == "darts"


def test_files_of_one_name_are_two_modules(tmp_path: Path):
    found = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"X = {folder!r}\n")
        found.append(registry.find("thing", f"{tmp_path / folder}/mine.py:X"))
    assert found == ["a", "b"]


def test_what_a_file_does_not_define(file: Path):
    with pytest.raises(InvalidInput, match=r"^unknown space '.*types.py:YOURS': types.py defines DARTS, MINE, "):
        registry.find("space", f"{file}:YOURS")
    with pytest.raises(InvalidInput, match=r"there is no file .*nothing.py$"):
        registry.find("space", f"{file.parent}/nothing.py:MINE")
    with pytest.raises(InvalidInput, match=r"there is no file"):
        registry.find("space", f"{file.parent}{os.sep}.py:MINE")


BROKEN = {
    "1 / 0\n": "line 1: ZeroDivisionError: division by zero",
    "import os\nX = (\n": "line 2: SyntaxError: '(' was never closed",
    "import not_there\n": "line 1: ModuleNotFoundError: No module named 'not_there'",
    "raise SystemExit(3)\n": "line 1: SystemExit: 3",
    "\nraise ValueError('two\\nlines')\n": "line 2: ValueError: two lines",
    "X = '\0'\n": "SyntaxError: source code string cannot contain null bytes",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_file_that_fails_says_where_and_is_tried_again(text: str, tmp_path: Path):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(InvalidInput) as error:
        registry.find("space", f"{path}:X")
    assert str(error.value).startswith(f"space '{path}:X' cannot be loaded: ")
    assert str(error.value).endswith(BROKEN[text])
    path.write_text("X = 1234567\n")
    assert registry.find("space", f"{path}:X") == 1234567


def test_a_neighbour_that_fails_is_tried_again(tmp_path: Path):
    (tmp_path / "my_ops.py").write_text("\nVALUE = undefined\n")
    (tmp_path / "my_space.py").write_text("from my_ops import VALUE\n")
    with pytest.raises(InvalidInput, match=r"my_ops\.py, line 2: NameError"):
        registry.find("thing", f"{tmp_path}/my_space.py:VALUE")
    (tmp_path / "my_ops.py").write_text("VALUE = 3\n")
    assert registry.find("thing", f"{tmp_path}/my_space.py:VALUE") == 3


def project(folder: Path, value: int) -> str:
    """A file that imports beside it, in every way that there is; gives the name of its THINGS."""
    files = {
        "mine.py": "import token\nimport my_ops\nimport my_ops as ops\nimport parts.deep\nimport parts.deep as deep\n"
        "from my_ops import VALUE\nfrom parts import near\nfrom . import my_ops as dotted\nimport json.decoder\n"
        "def later():\n    import late\n    return late.VALUE\n"
        "THINGS = [my_ops.VALUE, ops.VALUE, parts.deep.VALUE, deep.VALUE, VALUE, near.VALUE, dotted.VALUE]\n"
        "SAME, TOKEN, JSON = dotted is my_ops, token, json.decoder\n",
        "my_ops.py": f"VALUE = {value}\n",
        "late.py": f"import my_ops\nVALUE = my_ops.VALUE + {value}\n",
        "token.py": "1 / 0  # a name of the standard library's\n",
        "parts/__init__.py": "",
        "parts/deep.py": "import my_ops\nfrom .near import VALUE\nassert my_ops.VALUE == VALUE\n",
        "parts/near.py": f"VALUE = {value}\n",
        "unused.py": "VALUE = 0\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return f"{folder}/mine.py"


def test_a_file_imports_what_lies_beside_it(tmp_path: Path):
    before = list(sys.path)
    one, other = project(tmp_path / "one", 1), project(tmp_path / "other", 2)
    for name, value in ((one, 1), (other, 2)):
        assert registry.find("thing", f"{name}:THINGS") == [value] * 7
        assert registry.find("thing", f"{name}:later")() == 2 * value
        assert registry.find("thing", f"{name}:SAME")
        assert registry.find("thing", f"{name}:TOKEN") is __import__("token")
        assert registry.find("thing", f"{name}:JSON") is sys.modules["json.decoder"]
    assert sys.path == before
    assert not {"my_ops", "late", "parts", "mine"} & set(sys.modules)
    with pytest.raises(ModuleNotFoundError):
        import my_ops  # type: ignore[import-not-found] # noqa: F401


def test_a_neighbour_may_import_the_file_that_was_named(tmp_path: Path):
    (tmp_path / "my_space.py").write_text("class Thing: pass\nimport my_ops\nOTHER = my_ops.thing\n")
    (tmp_path / "my_ops.py").write_text("import my_space\nthing = my_space.Thing()\n")
    thing = registry.find("thing", f"{tmp_path}/my_space.py:OTHER")
    assert type(thing) is registry.find("thing", f"{tmp_path}/my_space.py:Thing")


def test_a_neighbour_with_the_name_of_an_installed_package_is_meant(tmp_path: Path):
    # As where Python runs a file: what lies beside it comes first. nasray itself cannot be hidden.
    (tmp_path / "sklearn.py").write_text("VALUE = 'mine'\n")
    (tmp_path / "nasray.py").write_text("1 / 0\n")
    (tmp_path / "numpy").mkdir()  # a folder of data
    (tmp_path / "mine.py").write_text("import nasray, numpy, sklearn\nVALUE = sklearn.VALUE\nPI = numpy.pi\n")
    assert registry.find("thing", f"{tmp_path}/mine.py:VALUE") == "mine"
    assert registry.find("thing", f"{tmp_path}/mine.py:PI") > 3


def test_the_digest_is_that_of_the_source_wherever_it_lies(tmp_path: Path):
    digest = registry.digest("thing", project(tmp_path / "one", 1) + ":THINGS")
    assert digest is not None
    assert len(digest) == 12
    moved = project(tmp_path / "moved", 1)
    (tmp_path / "moved" / "unused.py").write_text("VALUE = 1\n")
    assert registry.digest("thing", f"{moved}:JSON") == digest
    for place, name in enumerate(("mine.py", "my_ops.py", "late.py", "parts/deep.py", "parts/near.py")):
        edited = project(tmp_path / str(place), 1)
        with (tmp_path / str(place) / name).open("a") as file:
            file.write("# edited\n")
        assert registry.digest("thing", f"{edited}:THINGS") != digest
    windows = project(tmp_path / "windows", 1)
    (tmp_path / "windows" / "late.py").write_bytes((tmp_path / "one" / "late.py").read_bytes().replace(b"\n", b"\r\n"))
    assert registry.digest("thing", f"{windows}:THINGS") == digest
    assert registry.digest("space", "darts") is None


def test_names_without_their_folders(tmp_path: Path):
    one, other = tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py"
    assert registry.portable(f"{one}:SPACE") == registry.portable("mine.py:SPACE") == "mine.py:SPACE"
    assert registry.portable("darts") == "darts"
    assert registry.among([f"{one}:SPACE", f"{one}:OTHER", "darts"], "mine.py:SPACE") == f"{one}:SPACE"
    assert registry.among([], "darts") == "darts"
    with pytest.raises(InvalidInput, match=r"^'mine.py:SPACE' is a user's own code: give the file that defines it$"):
        registry.among(["darts"], "mine.py:SPACE")
    with pytest.raises(InvalidInput, match=r"may be .*a/mine.py:SPACE or .*b/mine.py:SPACE: give the files different"):
        registry.among([f"{one}:SPACE", f"{other}:SPACE"], "mine.py:SPACE")


def test_typed_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert registry.absolute_path("data") == f"{tmp_path}/data"
    assert registry.absolute_path("~/data/../x") == "/home/me/x"
    assert registry.absolute_path("s3://bucket/data") == "s3://bucket/data"
    assert registry.absolute_path(None) is None


def test_a_folder_that_is_there_is_no_dataset_by_its_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imgs").mkdir()
    with pytest.raises(InvalidInput, match=r"^unknown dataset 'imgs': a folder of images is folder:imgs$"):
        registry.find("dataset", "imgs")
