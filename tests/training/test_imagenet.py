"""ImageNet's published transforms against torchvision's, on images that a test draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional as F

from nasray.errors import InvalidInput
from nasray.training.batch_check import check_batch
from nasray.training.batches import DeviceData, epoch_generator
from nasray.training.image_files import Size
from nasray.training.imagenet import MEAN, SIDE, STD, CentreCrop, RandomCrop, imagenet

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8))


def test_training_images_are_cropped_as_torchvision_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    crop = RandomCrop()
    drawn = np.random.default_rng(1)
    windows = [crop._window(NOISE, drawn) for _ in range(4000)]
    theirs = [transforms.RandomResizedCrop.get_params(NOISE, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]
    mine = torch.tensor([(top, left, bottom - top, right - left) for left, top, right, bottom in windows])
    for share in (0.1, 0.5, 0.9):  # quantiles of top, left, height and width
        one, other = (torch.tensor(x).double().quantile(share, dim=0) for x in (mine.tolist(), theirs))
        assert torch.allclose(one, other, atol=4.0), share
    # A panorama has no window of an allowed shape but by its height: the largest at its centre.
    panorama = Image.new("RGB", (4001, 4))
    assert crop._window(panorama, drawn) == (1998, 0, 2003, 4)
    # Pixels are those of torchvision's functions for what was drawn.
    monkeypatch.setattr(RandomCrop, "_recoloured", lambda self, image, drawn: image)
    left, top, right, bottom = crop._window(NOISE, np.random.default_rng(5))
    wanted = F.resized_crop(NOISE, top, left, bottom - top, right - left, [32, 32])
    found = crop(NOISE, Size(32, 32, 3), np.random.default_rng(5))
    assert any(np.array_equal(np.asarray(found), np.asarray(one)) for one in (wanted, F.hflip(wanted)))


def test_colours_are_changed_within_their_ranges() -> None:
    grey = Image.new("RGB", (4, 4), (100, 100, 100))
    values = [np.asarray(RandomCrop()._recoloured(grey, np.random.default_rng(i)))[0, 0, 0] for i in range(300)]
    # Grey has neither hue nor saturation, and one value is its own contrast: what is left is the brightness.
    assert (min(values), max(values)) == (60, 139)
    assert len(set(values)) > 60


@pytest.mark.parametrize("shape", [(300, 400), (401, 299), (224, 224), (90, 130)])
def test_at_test_the_centre_is_that_of_torchvision_s(shape: tuple[int, int]) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8))
    theirs = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])(image)
    assert np.array_equal(np.asarray(CentreCrop()(image, Size(224, 224, 3), None)), np.asarray(theirs))


def test_the_usual_folder_is_streamed(tmp_path: Path) -> None:
    for number in range(12):
        part = "train" if number < 8 else "val"
        file = tmp_path / "imagenet" / part / ("n01440764", "n01443537")[number % 2] / f"{number}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        NOISE.rotate(30 * number).save(file)
    dataset = imagenet(tmp_path)
    assert (len(dataset.train[1]), len(dataset.test[1])) == (8, 4)
    assert dataset.class_names == ("n01440764", "n01443537")
    check_batch(dataset, dataset.augmentations)
    data = DeviceData(dataset, "cpu")

    def epoch(number: int) -> torch.Tensor:
        generator = epoch_generator(0, number, "weights")
        batches = data.batches(torch.arange(8), 3, augmentation="standard", generator=generator, shuffle=True)
        return torch.cat([inputs for inputs, _ in batches])

    assert torch.equal(epoch(1), epoch(1))
    assert not torch.equal(epoch(1), epoch(2))
    assert epoch(1).shape == (8, 3, SIDE, SIDE)
    published = transforms.Compose(
        [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )
    inputs, targets = next(data.test_batches(4))
    files = sorted((tmp_path / "imagenet" / "val").rglob("*.JPEG"))
    theirs = torch.stack([published(Image.open(file).convert("RGB")) for file in files])
    assert torch.allclose(inputs, theirs, atol=1e-5)
    assert targets.tolist() == [0, 0, 1, 1]
    (tmp_path / "imagenet" / "val" / "n01443537").rename(tmp_path / "imagenet" / "val" / "n2")
    with pytest.raises(InvalidInput, match=r"^dataset 'imagenet': only one of .* has class 'n01443537'"):
        imagenet(tmp_path)
    with pytest.raises(InvalidInput, match=r"^dataset 'imagenet': no folder .*Put ILSVRC 2012 there"):
        imagenet(tmp_path / "nowhere")
