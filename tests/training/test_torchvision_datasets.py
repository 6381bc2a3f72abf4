"""torchvision's datasets by their names: which there are, and that what is read is what torchvision gives."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from nasray.errors import InvalidInput
from nasray.training.dataset import load_dataset
from nasray.training.torchvision_datasets import PARTS, named

OTHER = {
    # Segmentation, detection, captions, video, flow, stereo, pairs of patches, faces, and tools.
    "LSUN", "LSUNClass", "ImageFolder", "DatasetFolder", "FakeData", "CocoCaptions", "CocoDetection", "MovingMNIST",
    "PhotoTour", "SBU", "Flickr8k", "Flickr30k", "VOCSegmentation", "VOCDetection", "Cityscapes", "CelebA", "WIDERFace",
    "SBDataset", "VisionDataset", "Kinetics", "HMDB51", "UCF101", "Kitti", "LFWPeople", "LFWPairs", "KittiFlow",
    "Sintel", "FlyingChairs", "FlyingThings3D", "HD1K", "Kitti2012Stereo", "Kitti2015Stereo", "CarlaStereo",
    "Middlebury2014Stereo", "CREStereo", "FallingThingsStereo", "SceneFlowStereo", "SintelStereo", "InStereo2k",
    "ETH3DStereo", "wrap_dataset_for_transforms_v2",
    # Classes for training and for testing differ.
    "Omniglot",
    # Of millions of images, which are streamed: the dataset `imagenet`, and folder:PATH.
    "ImageNet", "Places365", "INaturalist",
}  # fmt: skip


def test_every_classification_dataset_of_torchvision_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(datasets.__all__) - OTHER == set(PARTS)
    # Torchvision knows the parts: what it misses is the data, or the package that reads them.
    for name, parts in PARTS.items():
        for wanted in parts:
            with pytest.raises((RuntimeError, OSError, ImportError)):
                getattr(datasets, name)(tmp_path / name, **wanted)
    with pytest.raises(InvalidInput, match=r"^unknown dataset 'torchvision:CIFAR': did you mean 'CIFAR10'"):
        named("CIFAR")
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: (_ for _ in ()).throw(OSError("no way out")))
    with pytest.raises(InvalidInput, match=r"^dataset 'torchvision:KMNIST': .*give --data-root") as error:
        named("KMNIST", tmp_path)
    assert "\n" not in str(error.value)


def test_images_in_files_are_those_that_torchvision_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    noise = np.random.default_rng(0)
    for number in range(20):
        file = tmp_path / "eurosat" / "2750" / ("River", "Forest")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
    theirs = {(np.asarray(image).transpose(2, 0, 1).tobytes(), label) for image, label in datasets.EuroSAT(tmp_path)}

    def read() -> set[tuple[bytes, int]]:
        dataset = named("EuroSAT", tmp_path)
        assert dataset.class_names == ("Forest", "River")
        assert (len(dataset.train[0]), len(dataset.test[0])) == (16, 4)
        assert torch.bincount(dataset.test[1]).tolist() == [2, 2]
        pairs = [
            (x, y) for inputs, targets in (dataset.train, dataset.test) for x, y in zip(inputs, targets, strict=True)
        ]
        return {(x.numpy().tobytes(), int(y)) for x, y in pairs}

    assert read() == theirs
    assert read() == theirs  # from what was kept
    assert named("EuroSAT?size=4x6", tmp_path).input_shape == (3, 4, 6)


@pytest.mark.data
@pytest.mark.skipif("NASRAY_DATA" not in os.environ, reason="NASRAY_DATA names no folder with datasets")
@pytest.mark.parametrize(("theirs", "ours"), [("CIFAR10", "cifar10"), ("FashionMNIST", "fashion_mnist")])
def test_arrays_are_those_of_our_own_readers(theirs: str, ours: str) -> None:
    one, other = load_dataset(f"torchvision:{theirs}"), load_dataset(ours)
    for mine, same in zip((*one.train, *one.test), (*other.train, *other.test), strict=True):
        assert torch.equal(torch.as_tensor(mine), torch.as_tensor(same))
