"""A trained network in a file that others run: weights, a graph of torch's, or ONNX, with what it takes and gives."""

from nasray.deployment.files import FORMS, check_target, export
from nasray.deployment.pixels import FromPixels

__all__ = ["FORMS", "FromPixels", "check_target", "export"]
