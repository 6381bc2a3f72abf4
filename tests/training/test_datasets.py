from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import shutil
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from nasray.errors import InvalidInput
from nasray.training import datasets
from nasray.training.dataset import Dataset

DATA = Path(os.environ.get("NASRAY_DATA") or "nowhere")


def needs(folder: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (DATA / folder).is_dir(), reason=f"NASRAY_DATA has no {folder}")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 9 of this machine answers nobody, with or without a network.
    use_proxy(monkeypatch, "http://127.0.0.1:9")


def use_proxy(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, address)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    forget_proxies(monkeypatch)


def forget_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    # urllib reads the environment once a process: neither tests before this one nor those after may share it.
    monkeypatch.setattr(urllib.request, "_opener", None)


# digits


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.digits()


def test_digits_are_scikit_learns_images_each_in_one_part(digits: Dataset):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.cat([digits.train[0], digits.test[0]])
    targets = torch.cat([digits.train[1], digits.test[1]])
    assert images.dtype == torch.uint8
    assert images.shape == (1797, *digits.input_shape)
    mine = sorted((int(t), x.numpy().tobytes()) for x, t in zip(images, targets, strict=True))
    expected = zip(bunch.images.astype(np.uint8), bunch.target, strict=True)
    assert mine == sorted((int(t), x.tobytes()) for x, t in expected)


def test_digits_test_part_is_a_fifth_of_every_class(digits: Dataset):
    whole = torch.bincount(torch.cat([digits.train[1], digits.test[1]])).double()
    assert len(digits.test[1]) == round(1797 / 5)
    assert (torch.bincount(digits.test[1]).double() - whole / 5).abs().max() <= 1


def test_digits_test_part_is_fixed_for_ever(digits: Dataset):
    # Published accuracies stand on these very images.
    digest = hashlib.sha256(digits.test[0].numpy().tobytes() + digits.test[1].numpy().tobytes()).hexdigest()
    assert digest[:16] == "0773684e2321ff1e"


def test_digits_are_normalised_by_their_training_part(digits: Dataset):
    x = digits.augmentations["none"](digits.train[0], None)
    assert abs(x.mean()) < 1e-5
    assert abs(x.std() - 1) < 1e-3


def test_digits_are_never_mirrored(digits: Dataset):
    assert sorted(digits.augmentations) == ["autoaugment", "cutout", "none", "randaugment", "standard"]
    assert not any(getattr(one, "then", one).flip for one in digits.augmentations.values())


# CIFAR-10 and Fashion-MNIST as they were published


@pytest.fixture(scope="module")
def cifar10() -> Dataset:
    return datasets.cifar10(DATA)


@pytest.mark.data
@needs("cifar-10-batches-py")
def test_cifar10_pixels_are_torchvisions(cifar10: Dataset):
    from torchvision.datasets import CIFAR10

    assert cifar10.train[0].shape == (50_000, 3, 32, 32)
    assert cifar10.train[0].is_contiguous()
    for (images, targets), train in ((cifar10.train, True), (cifar10.test, False)):
        reference = CIFAR10(DATA, train=train)
        assert len(images) == len(reference)
        for index in range(0, len(reference), 997):
            image, target = reference[index]
            assert np.array_equal(images[index].permute(1, 2, 0).numpy(), np.asarray(image))
            assert targets[index] == target
        assert targets.tolist() == reference.targets


@pytest.mark.data
@needs("cifar-10-batches-py")
def test_cifar10_is_normalised_to_mean_0_and_deviation_1(cifar10: Dataset):
    x = cifar10.augmentations["none"](cifar10.train[0][::5], None)
    assert x.mean((0, 2, 3)).abs().max() < 0.02
    assert (x.std((0, 2, 3)) - 1).abs().max() < 0.02


@pytest.mark.data
@needs("cifar-10-batches-py")
def test_cifar10_recipe_is_the_published_one(cifar10: Dataset):
    cutout = cifar10.augmentations["cutout"]
    assert (cutout.crop_padding, cutout.flip, cutout.cutout) == (4, True, 16)
    assert cifar10.augmentations["standard"] == replace(cutout, cutout=0)


@pytest.mark.data
@needs("FashionMNIST/raw")
def test_fashion_mnist_pixels_are_torchvisions_and_normalised(monkeypatch: pytest.MonkeyPatch):
    from torchvision.datasets import FashionMNIST

    monkeypatch.setenv("NASRAY_DATA", str(DATA))
    dataset = datasets.fashion_mnist()
    assert dataset.train[0].shape == (60_000, 1, 28, 28)
    reference = FashionMNIST(DATA, train=False)
    for index in range(0, 10_000, 997):
        image, target = reference[index]
        assert np.array_equal(dataset.test[0][index, 0].numpy(), np.asarray(image))
        assert dataset.test[1][index] == target
    x = dataset.augmentations["none"](dataset.train[0][::5], None)
    assert abs(x.mean()) < 0.02
    assert abs(x.std() - 1) < 0.02


# No data, and what the network then does


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("name", "folder"), [("cifar10", "cifar-10-batches-py/"), ("fashion_mnist", "FashionMNIST/raw/")]
)
@pytest.mark.parametrize("through_environment", [False, True])
def test_no_data_and_no_network_is_one_line_at_once_and_leaves_nothing(
    name: str,
    folder: str,
    through_environment: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    root = tmp_path / "absent"
    if through_environment:
        monkeypatch.setenv("NASRAY_DATA", str(root))
    start = time.monotonic()
    with pytest.raises(InvalidInput) as caught:
        getattr(datasets, name)(None if through_environment else root)
    assert time.monotonic() - start < 5
    message = str(caught.value)
    for part in (name, str(root), folder, "--data-root", "NASRAY_DATA", "network"):
        assert part in message
    assert "\n" not in message
    assert not root.exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("no_network")
def test_without_a_root_and_a_variable_it_is_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NASRAY_DATA", "")
    with pytest.raises(InvalidInput, match=str(tmp_path / ".cache" / "nasray")):
        datasets.cifar10(None)


def test_a_network_that_never_answers_is_given_up_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        use_proxy(monkeypatch, f"http://127.0.0.1:{deaf.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(InvalidInput, match=r"could be downloaded \(.*(timed out|no answer).*\)"):
            datasets.cifar10(tmp_path / "absent")
        assert time.monotonic() - start < 5


def test_a_name_look_up_that_hangs_is_given_up_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    released = threading.Event()

    def look_up(*args: object, **kwargs: object) -> None:
        released.wait(20)
        raise socket.gaierror("too late")

    use_proxy(monkeypatch, "http://proxy.invalid:3128")
    monkeypatch.setattr(datasets, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    start = time.monotonic()
    with pytest.raises(InvalidInput, match=r"no answer in 0\.2 seconds"):
        datasets.cifar10(tmp_path / "absent")
    assert time.monotonic() - start < 5
    released.set()


@pytest.mark.usefixtures("no_network")
def test_damaged_files_are_refused_in_one_line(tmp_path: Path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps({"data": []}))
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for stem in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{stem}-ubyte").write_bytes(b"\0\0\10\3\0\0\0\5garbage")
    for load in (datasets.cifar10, datasets.fashion_mnist):
        with pytest.raises(InvalidInput, match=r"\A[^\n]*no intact data in[^\n]*\Z"):
            load(tmp_path)


def idx(array: np.ndarray) -> bytes:
    """Yann LeCun's file format: a type, the number of axes, big-endian sizes, bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small Fashion-MNIST on a server of this machine, in the place of the real one: its folder."""
    from torchvision.datasets import FashionMNIST

    folder = tmp_path / "mirror"
    folder.mkdir()
    rng = np.random.default_rng(0)
    resources = []
    for stem, count in (("train", 12), ("t10k", 5)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        for name, array in (
            (f"{stem}-images-idx3-ubyte.gz", images),
            (f"{stem}-labels-idx1-ubyte.gz", labels),
        ):
            (folder / name).write_bytes(gzip.compress(idx(array)))
            resources.append((name, hashlib.md5((folder / name).read_bytes()).hexdigest()))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    forget_proxies(monkeypatch)
    yield folder
    server.shutdown()
    server.server_close()


def test_a_download_is_silent_and_leaves_only_the_data(mirror: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    root = tmp_path / "new" / "root"
    dataset = datasets.fashion_mnist(root)
    assert capfd.readouterr() == ("", "")
    published = gzip.decompress((mirror / "train-images-idx3-ubyte.gz").read_bytes())
    assert dataset.train[0].numpy().tobytes() == published[16:]
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == sorted(
        path.stem for path in mirror.iterdir()
    )
    shutil.rmtree(mirror)
    assert torch.equal(datasets.fashion_mnist(root).train[0], dataset.train[0])


def test_a_download_cut_off_leaves_nothing_that_breaks_the_next(mirror: Path, tmp_path: Path):
    root = tmp_path / "root"
    last = mirror / "t10k-labels-idx1-ubyte.gz"
    intact = last.read_bytes()
    last.write_bytes(intact[:20])
    with pytest.raises(InvalidInput, match=r"\A[^\n]*corrupted[^\n]*\Z"):
        datasets.fashion_mnist(root)
    assert list(root.iterdir()) == []
    last.write_bytes(intact)
    assert len(datasets.fashion_mnist(root).test[0]) == 5


@pytest.mark.usefixtures("mirror")
def test_a_download_replaces_damaged_files(tmp_path: Path):
    raw = tmp_path / "root" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for stem in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{stem}-ubyte").write_bytes(b"half")
    assert len(datasets.fashion_mnist(tmp_path / "root").train[0]) == 12


@pytest.mark.usefixtures("mirror")
def test_a_root_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidInput, match=r"\A[^\n]*no intact data in [^\n]*file[^\n]*\Z"):
        datasets.fashion_mnist(tmp_path / "file")


# What a dataset may be


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"classes": 0}, "classes 0"),
        ({"classes": 9}, "10 class_names for 9 classes"),
        ({"classes": 9, "class_names": ()}, "targets from 0 to 9"),
        ({"class_names": range(10)}, "class_names .*expected texts"),
        ({"input_shape": ()}, r"input_shape \(\)"),
        ({"augmentations": {}}, r"augmentations \(empty\)"),
        ({"train": (torch.zeros(3, 1), torch.zeros(4).long())}, "equal first dimensions"),
        ({"test": (torch.zeros(0, 1), torch.zeros(0).long())}, "equal first dimensions"),
        ({"test": (torch.zeros(3, 1), torch.zeros(3))}, "one int64 per example"),
        ({"name": ""}, "name ''"),
    ],
)
def test_a_dataset_that_contradicts_itself_is_refused(change: dict[str, object], named: str, digits: Dataset):
    with pytest.raises(InvalidInput, match=rf"\A[^\n]*{named}[^\n]*\Z"):
        replace(digits, **change)


def test_a_dataset_need_not_be_images(digits: Dataset):
    tokens = torch.arange(100)
    dataset = replace(
        digits,
        task="language modelling",
        classes=100,
        class_names=(),
        input_shape=(35,),
        train=(tokens[:-1], tokens[1:]),
        test=(tokens[:-1], tokens[1:]),
        augmentations={"none": lambda x, generator: x},
    )
    assert dataset.train[0].ndim == 1
