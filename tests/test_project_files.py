"""The files around the code agree with one another, and tell nothing of the machine or of persons that made them."""

from __future__ import annotations

import re
import struct
import subprocess
import tomllib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import nasray

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text())
DEVELOPERS = [{"name": "the nasray developers"}]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_version_and_licence_are_the_same_everywhere() -> None:
    changes = re.findall(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)
    assert PROJECT["version"] == nasray.__version__ == CITATION["version"] == changes[0]
    assert PROJECT["license"] == CITATION["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE"]


def test_the_licence_is_the_whole_apache_licence() -> None:
    # The CRC-32 of https://www.apache.org/licenses/LICENSE-2.0.txt as Debian and many packages carry it.
    assert zlib.crc32((ROOT / "LICENSE").read_bytes()) == 0x86E2B4B4


def test_the_citation_has_what_its_format_requires() -> None:
    # https://github.com/citation-file-format/citation-file-format, version 1.2.0: required are these four.
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION.keys() >= {"authors", "message", "title"}
    assert CITATION["type"] in ("software", "dataset")


def test_nobody_and_no_address_is_invented() -> None:
    assert PROJECT["authors"] == CITATION["authors"] == DEVELOPERS
    assert not PROJECT.keys() & {"maintainers", "urls"}
    assert not CITATION.keys() & {"contact", "date-released", "doi", "identifiers", "url"}
    assert not [key for key in CITATION if key.startswith("repository")]
    for name in ("CITATION.cff", "pyproject.toml"):
        assert not re.findall(r"https?://|\S+@\S+\.\w+|orcid|\b10\.\d{4,}/", text(name), re.IGNORECASE), name
    assert set(re.findall(r"https?://[^\s)]+", text("LICENSE"))) == {
        "http://www.apache.org/licenses/",
        "http://www.apache.org/licenses/LICENSE-2.0",
    }


def test_what_pre_commit_runs_is_what_ci_runs() -> None:
    (repository,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    commands = {hook["entry"] for hook in repository["hooks"]}
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    assert commands == set(re.findall(r"^((?:ruff|mypy)\b[^>]*?)(?: >.*)?$", text(".ci/run"), re.MULTILINE))


def test_contributing_knows_every_room_and_marker() -> None:
    contributing = text("CONTRIBUTING.md")
    rooms = {path.parent.name for path in (ROOT / "nasray").glob("*/__init__.py")}
    assert rooms == set(re.findall(r"^\| `nasray/(\w+)` \|", contributing, re.MULTILINE))
    pytest_options = tomllib.loads(text("pyproject.toml"))["tool"]["pytest"]["ini_options"]
    markers = [line.split(":")[0] for line in pytest_options["markers"]]
    assert markers == re.findall(r"^\| `(\w+)` \|", contributing, re.MULTILINE)[-len(markers) :]


def committed() -> list[Path]:
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip("not a checkout")
    return [path for name in found.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def png_chunks(path: Path) -> Iterator[tuple[str, bytes]]:
    data = path.read_bytes()
    start = 8
    while start < len(data):
        (length,) = struct.unpack(">I", data[start : start + 4])
        yield data[start + 4 : start + 8].decode("ascii"), data[start + 8 : start + 8 + length]
        start += 12 + length


# The homes of users that published container and cloud images have, and that examples name, are of no machine.
OF_A_MACHINE = re.compile(
    r"(?<![\w.*-])(/(?:work|root|Users)/[\w.]|/home/(?!(?:ray|ubuntu|me|you|user)\b)\w|/tmp/(?:tmp|pytest-|bash)|C:\\Users)"
)


def test_no_text_holds_a_path_of_the_machine_that_made_it() -> None:
    for example in ("/work/main/nasray", "see /home/someone/runs", "'/root/.ray'", "/tmp/tmpab12/x"):
        assert OF_A_MACHINE.search(example), example
    for path in committed():
        if path.suffix == ".png" or path.resolve() == Path(__file__).resolve():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert not OF_A_MACHINE.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"


def test_pictures_carry_pixels_and_no_notes() -> None:
    pictures = [path for path in committed() if path.suffix == ".png"]
    assert pictures
    for path in pictures:
        for kind, content in png_chunks(path):
            assert kind in ("IHDR", "PLTE", "IDAT", "IEND", "pHYs") or content.startswith(b"Software\0Matplotlib"), (
                f"{path.relative_to(ROOT)} has {kind}: {content[:80]!r}"
            )


def test_every_file_that_the_documents_name_is_there() -> None:
    # Not after another folder, nor where NAME stands for one.
    named = re.compile(r"(?<![\w/.-])(?:nasray|search_spaces|tests|cluster|docs)/[\w./-]*\w")
    for path in committed():
        if path.suffix == ".md" and path.name != "CHANGELOG.md":
            for name in named.findall(path.read_text(encoding="utf-8")):
                if "NAME" not in name:
                    assert (ROOT / name).exists(), f"{path.relative_to(ROOT)} names {name}"
