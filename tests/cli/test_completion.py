"""Completion: the printed scripts are the shells', and what they complete is what there is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from nasray.cli import main

TRY = """
source "$1"
shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_nasray nasray "${@: -1}" "${@: -2:1}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["--print-completion", shell]) == 0
    return capsys.readouterr().out


def test_bash_completes_verbs_names_options_and_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "nasray.bash"
    file.write_text(script("bash", capsys))
    subprocess.run(["bash", "-n", str(file)], check=True)

    def completed(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", TRY, "bash", str(file), "nasray", *words], capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    assert completed("re") == ["retrain", "resume"]
    assert completed("sweep", "di") == ["digits"]
    assert completed("sweep", "digits", "--lam") == ["--lambda0"]
    assert "--training.epochs" in completed("sweep", "digits", "--training.")
    assert {"digits", "cifar10"} <= {*completed("sweep", "digits", "--data", "")}
    assert completed("search", "ista_nas", "gold", "digits", "--spars") == ["--sparsity"]
    assert completed("search", "ista_nas", "gold", "digits", "--lam") == []
    assert completed("export", "--to", "") == ["safetensors", "pt2", "onnx"]
    assert completed("--ver") == ["--version"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh")
def test_zsh_takes_its_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "_nasray"
    file.write_text(script("zsh", capsys))
    subprocess.run(["zsh", "-n", str(file)], check=True)
