"""Data on the device, splits, schedules, loops and checkpoints: plain torch."""

from nasray.training.dataset import Dataset, load_dataset
from nasray.training.images import ImageTransform

__all__ = ["Dataset", "ImageTransform", "load_dataset"]
