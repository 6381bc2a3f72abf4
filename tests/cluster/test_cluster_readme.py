"""The cluster's README: its commands are commands, its files are there, its flags exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parents[2] / "cluster"
README = (CLUSTER / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    text = re.sub(r"\\\n", " ", "\n".join(BLOCKS))
    # What a shell on the cluster runs, and what a job runs, are commands too.
    lines = [line for line in text.splitlines() if line.strip()]
    found = [shlex.split(line, comments=True) for line in lines]
    found += [shlex.split(one) for words in found for one in words if one.startswith("nasray sweep ")]
    found += [words[words.index("--") + 1 :] for words in found if "--" in words]
    return [words for words in found if words]


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_is_bash(block: str) -> None:
    parsed = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True)
    assert (parsed.returncode, parsed.stderr) == (0, "")


def test_every_ray_command_and_option_exists() -> None:
    click = pytest.importorskip("click")
    scripts = pytest.importorskip("ray.scripts.scripts")
    seen = 0
    for program, *rest in commands():
        if program != "ray":
            continue
        group, given = scripts.cli, rest
        while isinstance(group, click.Group):
            group, given = group.commands[given[0]], given[1:]
        known = {option for parameter in group.params for option in parameter.opts}
        for word in given:
            if word == "--":
                break
            if word.startswith("--"):
                assert word.partition("=")[0] in known, (rest, word)
        seen += 1
    assert seen >= 12


def test_every_sweep_of_nasray_is_one() -> None:
    from nasray import registry
    from nasray.sweeps import Sweep

    sweeps = [words[2:] for words in commands() if words[:2] == ["nasray", "sweep"]]
    assert len(sweeps) >= 4
    for name, *given in sweeps:
        if ":" not in name:
            registry.find("sweep", name, Sweep)
        assert set(given[::2]) <= {"--name", "--storage", "--address"}


def test_every_file_that_it_names_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#:]+)\)", README) if not link.startswith("monitoring/")]
    assert len(links) > 8
    for link in links:
        assert (CLUSTER / link).exists(), link
    for named in re.findall(r"\bcluster/[\w./-]+\w", "\n".join(BLOCKS)):
        assert (CLUSTER.parent / named).exists(), named


def test_every_heading_that_it_links_to_is_there() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.*)$", README, re.M)
    }
    for anchor in re.findall(r"\]\(#([^)]+)\)", README):
        assert anchor in headings, anchor


def test_each_walk_says_what_it_costs_and_how_it_is_taken_down() -> None:
    for heading in ("A workstation with a running Ray", "AWS", "Google Cloud", "KubeRay", "Slurm"):
        section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        assert "**Costs**" in section, heading
        assert "**Taken down**" in section, heading
