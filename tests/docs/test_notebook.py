"""The notebook of the documents, run from its first cell to its last in a kernel of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.snippets import DOCS, ROOT


@pytest.mark.slow
def test_the_notebook_runs_from_first_to_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [
        "".join(
            output.get("data", {}).get("text/html", output.get("data", {}).get("text/plain", ""))
            for output in cell.outputs
        )
        for cell in cells
    ]
    assert "<img" in shown[1]  # a run shows its front, as table and picture
    assert "test_accuracy" in shown[2]
    assert float(shown[3]) > 0.5
    assert "supernet_accuracy" in shown[4]
    assert "value:stripes" in shown[5]
