"""From a folder of images to a network that runs elsewhere: 300 PNGs of 28x40 that this script draws, in five minutes.

    python tests/benchmarks/own_images.py [--minutes 5]

In an empty folder, with the command ``nasray`` beside this Python: `nasray sweep images`, `nasray export` to ONNX, and
the class of one PNG by onnxruntime alone, in a process that cannot import nasray; it must be what nasray says. Prints
the seconds of each step, and the front.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("bar", "check", "disc")
NASRAY = str(Path(sys.executable).with_name("nasray"))
ONNX_ALONE = """
import json, sys
sys.modules["nasray"] = None
import numpy as np, onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession(sys.argv[1])
told = session.get_modelmeta().custom_metadata_map
pixels = np.asarray(Image.open(sys.argv[2]).convert("RGB"))
(scores,) = session.run(None, {session.get_inputs()[0].name: pixels.transpose(2, 0, 1)[None]})
print(json.loads(told["nasray"])["data"]["class_names"][int(scores[0].argmax())])
"""


def draw(root: Path, count: int = 300) -> None:
    """Bars, checks and discs of random place, size and colour on noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:40, :28]
    for number in range(count):
        kind = CLASSES[number % 3]
        y, x, r = rng.integers(10, 30), rng.integers(8, 20), rng.integers(5, 9)
        near = (abs(rows - y) < r) & (abs(columns - x) < r)
        shape = {
            "bar": abs(columns - x) < 2,
            "check": ((rows // 4 + columns // 4) % 2 == 0) & near,
            "disc": (rows - y) ** 2 + (columns - x) ** 2 < r * r,
        }[kind]
        image = rng.integers(0, 90, (40, 28, 3))
        image[shape] = rng.integers(120, 256, 3)
        (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.uint8)).save(root / kind / f"{number:03}.png")


def timed(what: str, command: list[str], folder: Path) -> str:
    """Run a command, print how long it took, give what it printed."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    print(f"{what}: {time.perf_counter() - began:.1f} s", flush=True)
    if done.returncode:
        raise SystemExit(f"{what} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        draw(folder / "imgs")
        sweep = ["sweep", "images", "--data", "folder:imgs", "--minutes", f"{minutes:g}"]
        print(timed("nasray sweep images", [NASRAY, *sweep], folder))
        print(timed("nasray sweep images once more", [NASRAY, *sweep], folder).splitlines()[-1])
        timed("nasray export", [NASRAY, "export", "runs/images", "best", "--to", "onnx", "--out", "n.onnx"], folder)
        png = next((folder / "imgs" / "disc").iterdir())
        alone = timed("onnxruntime alone", [sys.executable, "-c", ONNX_ALONE, "n.onnx", str(png)], folder).strip()

        import nasray

        run = nasray.open(folder / "runs" / "images")
        network, best = run.network("best"), run.best()
        told = json.loads((folder / "runs" / "images" / "run.json").read_text())["sweep"]["dataset"]
        from nasray.training.dataset import load_dataset

        dataset = load_dataset(told)
        pixels = np.asarray(Image.open(png).convert("RGB")).transpose(2, 0, 1).copy()
        import torch

        scores = network(dataset.augmentations["none"](torch.from_numpy(pixels)[None], None))
        said = dataset.class_names[int(scores.argmax())]
        print(f"{png.name}: onnxruntime alone says {alone}, nasray {said}; test accuracy {best['test_accuracy']:.3f}")
        raise SystemExit(alone != said)


if __name__ == "__main__":
    main()
