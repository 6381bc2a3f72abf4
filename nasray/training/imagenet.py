"""ImageNet (ILSVRC 2012), streamed from its usual folder, with the transforms of the published searches."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nasray.errors import InvalidInput
from nasray.training.dataset import Dataset
from nasray.training.folders import class_files
from nasray.training.image_files import ImageFiles, Size
from nasray.training.images import ImageTransform
from nasray.training.recipes import with_policies

SIDE = 224
"""Pixels of a network input's sides."""
RESIZED = 256
"""Pixels of the shorter side at test, out of whose centre an input is cropped."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the training images' channels, as fractions of 255: those that the field's networks are normalised by."""
TRIES = 10
"""Windows that are drawn before the largest one of an allowed shape, at the centre, is taken."""


def imagenet(root: Path | None = None) -> Dataset:
    """ILSVRC 2012: 1,281,167 training images of 1,000 classes; the 50,000 of its folder ``val`` are tested on, and
    validation images are split from the training's, as published results have it.

    The folder ``imagenet`` holds ``train`` and ``val``, each with one folder for each class, as most frameworks want
    them; nothing is downloaded, for its terms ask each user to register. Training images are cropped at random to
    224x224 (8 to 100 % of the area, sides of 3:4 to 4:3), mirrored, and changed in brightness, contrast and saturation
    by up to 0.4 and in hue by up to 0.2, as in DARTS' released code; at test, 224 of 256 pixels around the centre.

    Args:
        root: folder that has the folder ``imagenet``. None is the folder that the environment variable NASRAY_DATA
            names, else ``~/.cache/nasray``.

    Raises:
        InvalidInput: it is not there, or its two parts have other classes.
    """
    folder = Path(root or os.environ.get("NASRAY_DATA") or "~/.cache/nasray").expanduser() / "imagenet"
    parts = {}
    for part in ("train", "val"):
        if not (folder / part).is_dir():
            raise InvalidInput(
                f"dataset 'imagenet': no folder {folder / part}. Put ILSVRC 2012 there, one folder of images for each "
                "class, or give --data-root."
            )
        parts[part] = class_files(folder / part)
    names = sorted(parts["train"])
    if unlike := sorted(parts["val"].keys() ^ set(names)):
        raise InvalidInput(
            f"dataset 'imagenet': only one of {folder}/train and {folder}/val has class {unlike[0]!r}. Give both the "
            "same classes."
        )
    pairs = {part: [(file, names.index(name)) for name in names for file in of[name]] for part, of in parts.items()}
    train, test = (
        (ImageFiles([file for file, _ in of], Size(SIDE, SIDE, 3)), torch.tensor([label for _, label in of]))
        for of in pairs.values()
    )
    centre = ImageTransform(mean=MEAN, std=STD, reading=CentreCrop())
    recipe = replace(centre, reading=RandomCrop(), cutout=SIDE // 2)
    return Dataset(
        name="imagenet",
        task="classification",
        classes=len(names),
        class_names=tuple(names),
        input_shape=(3, SIDE, SIDE),
        train=train,
        test=test,
        augmentations=with_policies(recipe, SIDE, none=centre),
    )


@dataclass(frozen=True)
class CentreCrop:
    """The square around the centre of an image whose shorter side has been brought to some pixels."""

    resized: int = RESIZED
    """Pixels of the shorter side."""

    def __call__(self, image: Image.Image, size: Size, drawn: np.random.Generator | None) -> Image.Image:
        """The image at its size. Nothing is drawn."""
        # Resized first and cropped then, as published networks are tested: the other order samples other pixels.
        shorter = min(image.size)
        sides = [int(self.resized * side / shorter) for side in image.size]
        image = image.resize((sides[0], sides[1]), Image.Resampling.BILINEAR)
        left, top = round((image.width - size.width) / 2), round((image.height - size.height) / 2)
        return image.crop((left, top, left + size.width, top + size.height))


@dataclass(frozen=True)
class RandomCrop:
    """A window of random area and shape, mirrored half of the time, in random brightness, contrast, saturation and hue
    (Szegedy et al. 2015, arXiv:1409.4842; Howard 2013, arXiv:1312.5402)."""

    area: tuple[float, float] = (0.08, 1.0)
    """Least and largest share of the image."""

    shape: tuple[float, float] = (3 / 4, 4 / 3)
    """Least and largest width for a height of 1."""

    jitter: float = 0.4
    """Brightness, contrast and saturation are multiplied by 1 plus or minus up to so much."""

    hue: float = 0.2
    """Hue is shifted by up to so much of the circle, either way."""

    def __call__(self, image: Image.Image, size: Size, drawn: np.random.Generator | None) -> Image.Image:
        """The image at its size.

        Raises:
            InvalidInput: there is nothing to draw from.
        """
        if drawn is None:
            raise InvalidInput("random crops have no seeds: expected a torch.Generator for the batches")
        image = image.crop(self._window(image, drawn)).resize((size.width, size.height), Image.Resampling.BILINEAR)
        if drawn.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return self._recoloured(image, drawn)

    def _window(self, image: Image.Image, drawn: np.random.Generator) -> tuple[int, int, int, int]:
        """Left, upper, right and lower edge."""
        whole = image.width * image.height
        for _ in range(TRIES):
            area = whole * drawn.uniform(*self.area)
            shape = math.exp(drawn.uniform(math.log(self.shape[0]), math.log(self.shape[1])))
            width, height = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < width <= image.width and 0 < height <= image.height:
                left, top = (int(drawn.integers(rest + 1)) for rest in (image.width - width, image.height - height))
                return left, top, left + width, top + height
        width = min(image.width, round(image.height * self.shape[1]))
        height = min(image.height, round(image.width / self.shape[0]))
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return left, top, left + width, top + height

    def _recoloured(self, image: Image.Image, drawn: np.random.Generator) -> Image.Image:
        from torchvision.transforms import functional as F

        changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        factors = [*drawn.uniform(1 - self.jitter, 1 + self.jitter, 3), drawn.uniform(-self.hue, self.hue)]
        for number in drawn.permutation(len(changes)):
            image = changes[number](image, factors[number])
        return image
