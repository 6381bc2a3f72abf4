from __future__ import annotations

import subprocess
import sys


def test_results_open_where_neither_torch_nor_ray_is_installed() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'ray', 'torchvision', 'optuna', 'sklearn', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        "import nasray.results as results\n"
        "assert all(hasattr(results, name) for name in results.__all__)\n"
        "import pandas\n"
        "frame = pandas.DataFrame({'macs': [1.0], 'accuracy': [0.5]})\n"
        "assert len(results.pareto_front(frame)) == 1 and results.hypervolume(frame, (2.0, 0.0)) == 0.5\n"
        "import nasray; assert nasray.load is results.load\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
