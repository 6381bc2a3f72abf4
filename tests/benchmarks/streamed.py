"""Fashion-MNIST as a folder of 10,000 PNGs, trained from memory and streamed: the same accuracy to the bit.

    NASRAY_DATA=DIR python tests/benchmarks/streamed.py

Prints accuracies and seconds of both, the training of one architecture for two epochs, and how fast files are read.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

from nasray import registry
from nasray.training import folders
from nasray.training.batches import DeviceData
from nasray.training.dataset import load_dataset
from nasray.trials.check import any_architecture
from nasray.trials.evaluation import Evaluation, EvaluationConfig, EvaluationSettings

IMAGES = 10_000


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        root = Path(work) / "fashion"
        source = load_dataset("fashion_mnist")
        for number in range(IMAGES):
            part, index = ("train", number) if number < 8_000 else ("test", number)
            label = source.class_names[int(source.train[1][index])].replace("/", " ")
            file = root / part / label / f"{number:05}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(source.train[0][index, 0].numpy()).save(file)
        found = {how: trained(root, most) for how, most in (("memory", 2**31), ("streamed", 0))}
    for how, (accuracy, test_accuracy, seconds, read) in found.items():
        print(
            f"{how}: accuracy {accuracy!r}, test accuracy {test_accuracy!r}, {seconds:.1f} s for two epochs, of which "
            f"reading alone takes {read:.2f} s an epoch"
        )
    same = found["memory"][:2] == found["streamed"][:2]
    print("the same to the bit" if same else "they differ")
    raise SystemExit(not same)


def trained(root: Path, most: int) -> tuple[float, float, float, float]:
    """Accuracies on validation and test images, seconds of two epochs, and of reading one without training."""
    folders.IN_MEMORY_BYTES = most
    dataset = folders.folder(str(root))
    settings = EvaluationSettings(
        epochs=2, channels=4, cells=3, auxiliary_weight=0.0, drop_path=0.1, augmentation="cutout", batch_size=96
    )
    space = registry.find("space", "gold")
    config = EvaluationConfig(
        space="gold", dataset="fashion_mnist", architecture=any_architecture(space, 3), settings=settings, seed=0
    )
    evaluation = Evaluation(config, dataset, "cpu")
    began = time.perf_counter()
    while not evaluation.finished:
        evaluation.run_epoch()
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    for _ in DeviceData(dataset, "cpu").batches(torch.arange(len(dataset.train[1])), 96):
        pass
    return evaluation.accuracy, evaluation.test_accuracy(), seconds, time.perf_counter() - began


if __name__ == "__main__":
    main()
