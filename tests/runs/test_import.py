from __future__ import annotations

import subprocess
import sys


def test_runs_open_where_neither_torch_nor_ray_is_installed() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'ray', 'torchvision', 'optuna', 'sklearn', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        "import nasray.fronts, nasray.pictures, nasray.runs\n"
        "for room in (nasray.fronts, nasray.pictures, nasray.runs):\n"
        "    assert all(hasattr(room, name) for name in room.__all__)\n"
        "import pandas\n"
        "frame = pandas.DataFrame({'macs': [1.0], 'accuracy': [0.5]})\n"
        "assert len(nasray.pareto_front(frame)) == 1 and nasray.hypervolume(frame, (2.0, 0.0)) == 0.5\n"
        "assert nasray.load is nasray.runs.load\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
