"""Datasets from folders of images: what is read, what is refused, and that streaming changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nasray import registry
from nasray.errors import InvalidInput
from nasray.training import folders, image_cache
from nasray.training.batches import DeviceData, epoch_generator
from nasray.training.dataset import Dataset, load_dataset
from nasray.training.image_files import ImageFiles, Size, decode
from nasray.training.splits import splits_of
from nasray.trials.evaluation import EvaluationSettings


def draw(path: Path, size: tuple[int, int] = (8, 6), mode: str = "RGB", value: int = 0) -> Path:
    """An image of noise: its seed is the value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three classes of ten images of 6x8 pixels."""
    for number in range(30):
        draw(tmp_path / "imgs" / ("cat", "dog", "owl")[number % 3] / f"{number}.png", value=number)
    return tmp_path / "imgs"


def test_a_folder_of_classes_is_split_the_same_way_each_time(images: Path) -> None:
    dataset = load_dataset(f"folder:{images}")
    assert dataset.class_names == ("cat", "dog", "owl")
    assert dataset.input_shape == (3, 6, 8)
    assert (len(dataset.train[0]), len(dataset.test[0])) == (24, 6)
    assert torch.bincount(dataset.test[1]).tolist() == [2, 2, 2]
    assert dataset.name == "folder:imgs"
    # Every pixel of every image is there once, with its label.
    pixels = torch.cat([dataset.train[0], dataset.test[0]])
    labels = torch.cat([dataset.train[1], dataset.test[1]])
    there = {(image.numpy().tobytes(), int(label)) for image, label in zip(pixels, labels, strict=True)}
    for path in images.rglob("*.png"):
        with Image.open(path) as opened:
            image = np.asarray(opened).transpose(2, 0, 1)
        assert (np.ascontiguousarray(image).tobytes(), ("cat", "dog", "owl").index(path.parent.name)) in there
    again = folders.folder(str(images))
    assert torch.equal(again.train[0], dataset.train[0])
    assert again.digest == dataset.digest
    # Normalised by its own training images.
    inputs = dataset.augmentations["none"](dataset.train[0], None)
    assert inputs.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert (inputs.std(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-5


def test_parts_that_are_given_are_taken(tmp_path: Path) -> None:
    counts = {"train": 6, "val": 2, "test": 3}
    for part, count in counts.items():
        for number in range(2 * count):
            draw(tmp_path / "d" / part / str(number % 2) / f"{number}.jpg", value=number)
    dataset = load_dataset(f"folder:{tmp_path / 'd'}")
    assert (len(dataset.train[0]), len(dataset.test[0])) == (16, 6)
    settings = EvaluationSettings(validation_fraction=0.5)
    splits = splits_of(dataset, settings, 0.0)
    assert sorted(splits.validation.tolist()) == list(range(12, 16))
    assert sorted(splits.train.tolist()) == list(range(12))
    # As ImageNet lies on most disks: no part for testing.
    for file in (tmp_path / "d" / "test").rglob("*.jpg"):
        file.rename(tmp_path / f"{file.parent.name}-{file.name}")
    for one in ("0", "1"):
        (tmp_path / "d" / "test" / one).rmdir()
    (tmp_path / "d" / "test").rmdir()
    dataset = folders.folder(str(tmp_path / "d"))
    assert (len(dataset.train[0]), len(dataset.test[0])) == (12, 4)
    assert dataset.validation is None


@pytest.mark.parametrize(
    ("modes", "channels"), [(("L", "1", "L"), 1), (("L", "RGB", "L"), 3), (("LA", "P", "RGBA"), 3), (("CMYK",) * 3, 3)]
)
def test_grey_or_colour_and_any_size(modes: tuple[str, ...], channels: int, tmp_path: Path) -> None:
    for number in range(18):
        ending, same = "jpg" if modes[0] == "CMYK" else "png", number % 9
        draw(tmp_path / str(number % 3) / f"{number}.{ending}", (20 + same, 30 + same), modes[same // 3], number)
    dataset = folders.folder(str(tmp_path))
    assert dataset.input_shape == (channels, 34, 24)  # the median
    sized = load_dataset(f"folder:{tmp_path}?size=12x10")
    assert sized.input_shape == (channels, 12, 10)
    assert sized.train[0].shape[1:] == (channels, 12, 10)


def test_links_are_followed_and_hidden_files_are_none(images: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    for name in ("cat", "dog"):
        (linked / name).mkdir(parents=True)
        (linked / name / "more").symlink_to(images / name)
        (linked / name / "round").symlink_to(linked)  # a circle ends
        (linked / name / "._0.png").write_bytes(b"what macOS leaves")
    dataset = folders.folder(str(linked))
    assert torch.bincount(torch.cat([dataset.train[1], dataset.test[1]])).tolist() == [20, 20]


def test_parts_are_parts_however_they_are_spelt(images: Path) -> None:
    (images.parent / "d").mkdir()
    images.rename(images.parent / "d" / "Train")
    whole = images.parent / "d"
    for name in ("cat", "dog"):
        draw(whole / "TEST" / name / "0.png")
    dataset = folders.folder(str(whole))
    assert (dataset.classes, len(dataset.train[0]), len(dataset.test[0])) == (3, 30, 2)
    (whole / "Train").rename(whole / "bus")
    with pytest.raises(InvalidInput, match="has a part 'TEST', and no part 'train'"):
        folders.folder(str(whole))


def test_a_class_that_would_not_be_tested_is_refused(images: Path) -> None:
    draw(images / "yak" / "0.png")
    with pytest.raises(InvalidInput, match=r"yak has so few images that none tests: give it five or more"):
        folders.folder(str(images))


def test_what_is_kept_of_one_folder_is_not_another_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(image_cache, "SMALL_BYTES", 0)
    found = []
    for value in (1, 2):
        path = draw(tmp_path / str(value) / "a" / "0.bmp", value=value)
        os.utime(path, (10**9, 10**9))  # as an archive may have it
        found.append(image_cache.cached_pixels([path], Size(6, 8, 3), tmp_path / str(value)))
    assert not torch.equal(*found)


def test_cameras_that_were_held_upright_and_16_bits(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    assert torch.equal(
        decode([tmp_path / "turned.png"], Size(8, 6, 1))[0, 0], torch.tensor(np.asarray(image)).rot90(-1)
    )
    deep = (np.arange(48, dtype=np.uint16).reshape(6, 8) * 257) * 5
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert torch.equal(
        decode([tmp_path / "deep.png"], Size(6, 8, 1))[0, 0], torch.arange(48).reshape(6, 8).mul(5).byte()
    )


def test_streamed_batches_are_those_from_memory_to_the_bit(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = folders.folder(str(images))
    monkeypatch.setattr(folders, "IN_MEMORY_BYTES", 100)
    streamed = folders.folder(str(images))
    assert isinstance(streamed.train[0], ImageFiles)
    assert isinstance(whole.train[0], torch.Tensor)

    def batches(dataset: Dataset, augmentation: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
        data = DeviceData(dataset, "cpu")
        generator = epoch_generator(1, 2, "train")
        return [
            *data.batches(torch.arange(24), 5, augmentation=augmentation, generator=generator, shuffle=True),
            *data.test_batches(4),
        ]

    for augmentation in ("cutout", "randaugment", "autoaugment"):
        pairs = list(zip(batches(whole, augmentation), batches(streamed, augmentation), strict=True))
        assert len(pairs) == 7
        assert all(torch.equal(one, other) for mine, theirs in pairs for one, other in zip(mine, theirs, strict=True))
    # A part of them, for one of several workers, is read alone.
    generators = [epoch_generator(1, 2, "train") for _ in range(2)]
    both = [
        DeviceData(streamed, "cpu").batches(
            torch.arange(24), 5, augmentation="cutout", generator=generator, shuffle=True, part=part
        )
        for generator, part in zip(generators, (slice(None), slice(1, None, 2)), strict=True)
    ]
    for (x, y), (part_x, part_y) in zip(*both, strict=True):
        assert torch.equal(x[1::2], part_x)
        assert torch.equal(y[1::2], part_y)
    # Who stops early leaves no thread at work.
    stopped = DeviceData(streamed, "cpu").batches(torch.arange(24), 2)
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    # Of what is streamed, names, sizes and contents tell it from another.
    before = streamed.digest
    draw(next(images.rglob("*.png")), value=99)
    assert folders.folder(str(images)).digest != before


def test_policies_draw_for_every_image_from_the_generator_alone(images: Path) -> None:
    dataset = folders.folder(str(images))
    raw = dataset.train[0][:1].expand(8, -1, -1, -1)
    before = torch.get_rng_state()
    for name in ("autoaugment", "randaugment"):
        change = dataset.augmentations[name]
        one, same = (change(raw, torch.Generator().manual_seed(3)) for _ in range(2))
        assert torch.equal(one, same)
        assert len({image.numpy().tobytes() for image in one}) > 4
        assert one.shape == raw.shape
    assert torch.equal(torch.get_rng_state(), before)


def test_what_was_decoded_is_mapped_until_a_file_changes(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(image_cache, "SMALL_BYTES", 0)
    first = folders.folder(str(images))
    kept = sorted((tmp_path / "cache" / "nasray" / "images").iterdir())
    assert len(kept) == 2  # training and test
    with monkeypatch.context() as patched:
        patched.setattr(image_cache, "decode", lambda *_, **__: pytest.fail("decoded again"))
        assert torch.equal(folders.folder(str(images)).train[0], first.train[0])
    kept[0].write_bytes(b"damaged")
    assert torch.equal(folders.folder(str(images)).train[0], first.train[0])
    changed = next(images.rglob("*.png"))
    draw(changed, value=77)
    os.utime(changed, (1, 1))
    assert not torch.equal(
        torch.cat([folders.folder(str(images)).train[0].flatten(), folders.folder(str(images)).test[0].flatten()]),
        torch.cat([first.train[0].flatten(), first.test[0].flatten()]),
    )


def test_what_is_wrong_is_named(images: Path, tmp_path: Path) -> None:
    def refused(argument: str, said: str) -> None:
        with pytest.raises(InvalidInput, match=said) as error:
            folders.folder(argument)
        assert "\n" not in str(error.value)

    refused(str(tmp_path / "nowhere"), "no folder .*nowhere")
    refused("", "no folder")
    refused(f"{images}?size=0x4", r"expected sides of 1 to 4096 pixels")
    refused(f"{images}?size=big", r"expected HEIGHTxWIDTH")
    refused(f"{images}?colour=1", r"expected \?size=HEIGHTxWIDTH after its name")
    refused(str(images / "cat"), "0 folders: expected one folder of images for each class")
    (images / "empty").mkdir()
    refused(str(images), "class folder .*empty holds no images")
    (images / "empty").rmdir()
    (images / ".hidden").mkdir()
    (images / "cat" / "notes.txt").write_text("not an image")
    folders.folder(str(images))
    # Several at once, and cut off as well as something else altogether.
    files = sorted(images.rglob("*.png"))
    files[0].write_bytes(files[0].read_bytes()[:60])
    files[1].write_text("no image")
    refused(str(images), rf"^2 of 30 images cannot be read: {files[0]} .*, {files[1]} .*Repair or remove them\.$")
    (tmp_path / "d" / "train").mkdir(parents=True)
    draw(tmp_path / "d" / "train" / "a" / "1.png")
    draw(tmp_path / "d" / "train" / "b" / "1.png")
    draw(tmp_path / "d" / "test" / "a" / "1.png")
    draw(tmp_path / "d" / "test" / "c" / "1.png")
    refused(str(tmp_path / "d"), r"d/test has class 'c', which .*train has not")


def test_its_name_is_absolute_where_it_is_typed_and_portable_in_tables(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(images.parent)
    name = registry.absolute("folder:imgs?size=8x8")
    assert name == f"folder:{images}?size=8x8"
    assert registry.portable(name) == "folder:imgs?size=8x8"
    assert registry.among([name], "folder:imgs?size=8x8") == name
    assert registry.digest("dataset", name) is None  # nasray's own code
    with pytest.raises(InvalidInput, match=r"^unknown dataset 'folders:imgs'"):
        registry.find("dataset", "folders:imgs")
