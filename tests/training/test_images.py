from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nasray.errors import InvalidInput
from nasray.training.images import ImageTransform

# Normalisation with these leaves raw values as they are, so that pixels can be followed.
IDENTITY = {"mean": (0.0, 0.0), "std": (1 / 255, 1 / 255)}


def noise(n: int, channels: int = 2, height: int = 6, width: int = 5) -> Tensor:
    """No pixel is 0, so padding can be told from the image."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(1, 256, (n, channels, height, width), generator=generator, dtype=torch.uint8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(x: Tensor, padding: int, flip: bool) -> Tensor:
    """All that a crop and a flip can give, by brute force: (flip, dy, dx), N, C, H, W."""
    height, width = x.shape[2:]
    padded = F.pad(x, (padding,) * 4)
    every = [
        padded[:, :, dy : dy + height, dx : dx + width]
        for dy in range(2 * padding + 1)
        for dx in range(2 * padding + 1)
    ]
    return torch.stack(every + [window.flip(3) for window in every] if flip else every)


@pytest.mark.parametrize(("padding", "flip"), [(2, True), (1, False), (0, True)])
def test_every_image_is_one_window_of_its_padded_self_and_all_are_equally_frequent(padding: int, flip: bool):
    from scipy.stats import chisquare

    x = noise(4000)
    y = ImageTransform(**IDENTITY, crop_padding=padding, flip=flip)(x, seeded())
    equal = (windows(x, padding, flip).float() == y).flatten(2).all(2)
    assert equal.sum(0).eq(1).all()
    counts = equal.sum(1)
    assert len(counts) == (2 * padding + 1) ** 2 * (2 if flip else 1)
    assert chisquare(counts.numpy()).pvalue > 1e-3


def test_padding_is_black_before_normalisation():
    mean, std = (0.5, 0.25), (0.2, 0.4)
    y = ImageTransform(mean=mean, std=std, crop_padding=3)(torch.full((64, 2, 6, 5), 255).byte(), seeded())
    for channel in range(2):
        black, white = (0 - mean[channel]) / std[channel], (1 - mean[channel]) / std[channel]
        values = y[:, channel].unique()
        torch.testing.assert_close(values, torch.tensor([black, white]))


def devries(height: int, width: int, length: int) -> Tensor:
    """The squares of uoguelph-mlrg/Cutout's loop, one for each centre: H*W, H, W."""
    masks = []
    for y in range(height):
        for x in range(width):
            mask = np.zeros((height, width), dtype=bool)
            y1, y2 = np.clip(y - length // 2, 0, height), np.clip(y + length // 2, 0, height)
            x1, x2 = np.clip(x - length // 2, 0, width), np.clip(x + length // 2, 0, width)
            mask[y1:y2, x1:x2] = True
            masks.append(torch.from_numpy(mask))
    return torch.stack(masks)


def test_cutout_squares_are_those_of_devries_and_taylor():
    height, width, side, n = 9, 8, 4, 5000
    x = noise(n, 2, height, width)
    y = ImageTransform(**IDENTITY, cutout=side)(x, seeded())
    cut = (y == 0).all(1)
    assert torch.equal(cut, (y == 0).any(1))
    assert torch.equal(y.masked_select(~cut[:, None]), x.float().masked_select(~cut[:, None]))
    area = cut.sum((1, 2))
    assert area.min() >= (side // 2) ** 2
    assert area.max() == side**2

    expected = devries(height, width, side)
    counts = (cut.flatten(1).float() @ expected.flatten(1).float().T).eq(area[:, None])
    counts &= area[:, None] == expected.sum((1, 2))
    assert counts.any(1).all()
    areas = expected.sum((1, 2)).double()
    assert abs(area.double().mean() - areas.mean()) < 4 * areas.std() / n**0.5
    # How often each pixel is cut, and not only how much: a centre off by one would show here.
    assert (cut.double().mean(0) - expected.double().mean(0)).abs().max() < 0.03


def test_an_odd_side_cuts_an_odd_square():
    y = ImageTransform(**IDENTITY, cutout=3)(noise(500, 2, 9, 9), seeded())
    assert (y == 0).all(1).sum((1, 2)).max() == 9


def test_cutout_is_zero_after_normalisation_whatever_the_mean():
    transform = ImageTransform(mean=(0.4, 0.6), std=(0.2, 0.3), cutout=2)
    y = transform(torch.full((8, 2, 6, 6), 200).byte(), seeded())
    assert (y == 0).all(1).sum((1, 2)).ge(1).all()


def test_without_augmentation_it_is_torchvisions_normalisation():
    from torchvision.transforms.v2.functional import normalize, to_dtype

    x, mean, std = noise(10, 3, 32, 32), (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    expected = normalize(to_dtype(x, torch.float32, scale=True), list(mean), list(std))
    torch.testing.assert_close(ImageTransform(mean=mean, std=std)(x), expected)


@pytest.mark.parametrize("fields", [{}, {"crop_padding": 1}, {"flip": True}, {"cutout": 2}])
def test_output_is_channels_last_and_the_raw_batch_is_left_alone(fields: dict[str, int]):
    x = noise(7, 2, 6, 5)
    before = x.clone()
    y = ImageTransform(**IDENTITY, **fields)(x, seeded())
    assert y.dtype == torch.float32
    assert y.shape == x.shape
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, before)


def test_all_randomness_is_the_generators():
    transform = ImageTransform(**IDENTITY, crop_padding=2, flip=True, cutout=2)
    x = noise(50)
    torch.manual_seed(1)
    first, state = transform(x, seeded(5)), torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, transform(x, seeded(5)))
    assert not torch.equal(first, transform(x, seeded(6)))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_a_transform_first_used_in_inference_mode_serves_training_too():
    transform = ImageTransform(mean=(0.123, 0.456), std=(0.7, 0.8))
    with torch.inference_mode():
        transform(noise(2))
    weight = torch.ones(1, requires_grad=True)
    (transform(noise(2)) * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"mean": (0.5,), "std": (0.5, 0.5)},
        {"mean": (), "std": ()},
        {"mean": (0.5,), "std": (0.0,)},
        {"mean": (0.5,), "std": (0.5,), "crop_padding": -1},
        {"mean": (0.5,), "std": (0.5,), "cutout": -2},
    ],
)
def test_fields_out_of_range_are_refused_in_one_line(fields: dict[str, object]):
    with pytest.raises(InvalidInput, match=r"\A[^\n]*expected[^\n]*\Z"):
        ImageTransform(**fields)


def test_images_of_another_kind_and_a_missing_generator_are_refused():
    transform = ImageTransform(**IDENTITY, flip=True)
    with pytest.raises(InvalidInput, match=r"torch\.float32.*expected torch\.uint8"):
        transform(noise(2).float(), seeded())
    with pytest.raises(InvalidInput, match=r"N x 2 x H x W"):
        transform(noise(2, 3), seeded())
    with pytest.raises(InvalidInput, match=r"generator None"):
        transform(noise(2))
