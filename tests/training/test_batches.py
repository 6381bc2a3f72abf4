from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nasray.errors import InvalidInput
from nasray.training.batches import DeviceData, epoch_generator, num_batches
from nasray.training.dataset import Dataset
from nasray.training.images import ImageTransform


def numbered(n: int = 103) -> Dataset:
    """Each image is its own number, so that a batch tells which examples it holds."""

    def part(count: int) -> tuple[Tensor, Tensor]:
        number = torch.arange(count)
        return number.to(torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4).contiguous(), number % 5

    plain = ImageTransform(mean=(0.0,), std=(1 / 255,))
    return Dataset(
        name="numbered",
        task="classification",
        classes=5,
        input_shape=(1, 4, 4),
        train=part(n),
        test=part(31),
        augmentations={
            "none": plain,
            "cutout": ImageTransform(mean=(0.0,), std=(1 / 255,), crop_padding=1, cutout=2),
        },
    )


DATA = DeviceData(numbered(), "cpu")


def numbers(x: Tensor) -> list[int]:
    return [int(number) for number in x[:, 0, 0, 0].tolist()]


@pytest.mark.parametrize("batch_size", [1, 7, 103, 200])
@pytest.mark.parametrize("drop_last", [False, True])
def test_number_and_sizes_of_batches_are_those_of_torchs_data_loader(batch_size: int, drop_last: bool):
    loader = torch.utils.data.DataLoader(range(103), batch_size, drop_last=drop_last)
    sizes = [len(y) for _, y in DATA.batches(torch.arange(103), batch_size, drop_last=drop_last)]
    # The one difference: fewer examples than a batch holds still make one.
    assert sizes == ([len(batch) for batch in loader] or [103])
    assert num_batches(103, batch_size, drop_last) == len(sizes)


class Jumbled:
    """An augmentation that knows of no parts."""

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return x[torch.randperm(len(x), generator=generator)].float()


@pytest.mark.parametrize("augmentation", ["none", "cutout", "jumbled"])
@pytest.mark.parametrize("batch_size", [8, 2])
def test_parts_of_batches_are_those_of_the_whole_ones(augmentation: str, batch_size: int):
    given = numbered()
    data = DeviceData(replace(given, augmentations={**given.augmentations, "jumbled": Jumbled()}), "cpu")

    def batches(**part: slice) -> list[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        how = {"augmentation": augmentation, "generator": generator, "shuffle": True, **part}
        return list(data.batches(torch.arange(51), batch_size, **how))

    whole = batches()
    for rank in range(3):
        part = slice(rank, None, 3)
        expected = [(x[part], y[part]) for x, y in whole if len(y[part])]
        found = batches(part=part)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one[0], other[0])
            assert torch.equal(one[1], other[1])
    in_order = [(x[1::2], y[1::2]) for x, y in data.test_batches(10) if len(y) > 1]
    for (x, y), (part_x, part_y) in zip(in_order, data.test_batches(10, slice(1, None, 2)), strict=True):
        assert torch.equal(x, part_x)
        assert torch.equal(y, part_y)


def test_an_epoch_over_nothing_has_no_batch():
    assert num_batches(0, 8) == num_batches(0, 8, drop_last=True) == 0
    assert list(DATA.batches(torch.arange(0), 8)) == []


def test_batches_hold_the_examples_asked_for_with_their_targets():
    indices = torch.tensor([5, 99, 3, 42, 17])
    batches = list(DATA.batches(indices, 2))
    assert [numbers(x) for x, _ in batches] == [[5, 99], [3, 42], [17]]
    for x, y in batches:
        assert [number % 5 for number in numbers(x)] == y.tolist()


def test_a_shuffled_epoch_holds_every_example_once_in_another_order():
    indices = torch.arange(20, 100)
    seen = []
    for x, y in DATA.batches(indices, 16, shuffle=True, generator=epoch_generator(0, 0, "weights")):
        assert [number % 5 for number in numbers(x)] == y.tolist()
        seen += numbers(x)
    assert seen != indices.tolist()
    assert sorted(seen) == indices.tolist()


def epoch(seed: int, number: int, stream: str) -> Tensor:
    generator = epoch_generator(seed, number, stream)
    batches = DATA.batches(torch.arange(103), 8, augmentation="cutout", generator=generator, shuffle=True)
    return torch.cat([x for x, _ in batches])


def test_an_epoch_is_a_function_of_seed_epoch_and_stream():
    torch.manual_seed(1)
    first = epoch(3, 7, "weights")
    torch.manual_seed(2)
    assert torch.equal(first, epoch(3, 7, "weights"))
    for other in ((4, 7, "weights"), (3, 8, "weights"), (3, 7, "architecture")):
        assert not torch.equal(first, epoch(*other))


def test_epoch_seeds_use_all_64_bits_and_do_not_meet():
    seeds = {
        epoch_generator(seed, number, stream).initial_seed()
        for seed in range(12)
        for number in range(112)
        for stream in ("weights", "architecture")
    }
    assert len(seeds) == 12 * 112 * 2
    assert max(seeds) > 2**63


def test_test_batches_are_all_of_the_test_part_in_order_and_not_augmented():
    batches = list(DATA.test_batches(8))
    assert [len(y) for _, y in batches] == [8, 8, 8, 7]
    assert [number for x, _ in batches for number in numbers(x)] == list(range(31))


def test_what_cannot_be_is_refused_at_once_and_in_one_line():
    indices = torch.arange(4)
    with pytest.raises(
        InvalidInput, match=r"\Aunknown augmentation 'cutuot' for numbered: expected one of cutout, none\Z"
    ):
        DATA.batches(indices, 2, augmentation="cutuot")
    with pytest.raises(InvalidInput, match=r"\Abatch_size 0: expected"):
        DATA.batches(indices, 0)
    with pytest.raises(InvalidInput, match=r"\Agenerator None with shuffle=True: expected"):
        DATA.batches(indices, 2, shuffle=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_everything_stays_there_and_repeats():
    data = DeviceData(numbered(), "cuda")

    def once() -> Tensor:
        generator = epoch_generator(0, 0, "weights", "cuda")
        batches = data.batches(torch.arange(103), 8, augmentation="cutout", generator=generator, shuffle=True)
        return torch.cat([x for x, _ in batches])

    assert once().is_cuda
    assert torch.equal(once(), once())
    plain = torch.cat([x for x, _ in data.batches(torch.arange(103), 8)])
    assert numbers(plain) == list(range(103))
