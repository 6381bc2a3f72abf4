"""Published architectures as points beside a front.

Their accuracy is on the test split, of networks that others trained, by schedules of their own; their cost is ours,
counted at the published size. So they are never rows of a table, and stand on no front.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence

import pandas as pd

from nasray import registry
from nasray.costs import macs
from nasray.errors import InvalidInput
from nasray.spaces import CellSpace, Reference, from_genotype

ALL = "all"


def reference_points(names: Sequence[str], dataset: str, spaces: Iterable[str] = ()) -> pd.DataFrame:
    """A row for each reference: `name`, `space`, `macs` (M), `accuracy` and `accuracy_std` (fractions), `source`.

    Args:
        names: of references; ``all`` is all that have figures for the dataset.
        dataset: that they were published for.
        spaces: further ones than the registered, as ``file.py:NAME``.

    Raises:
        InvalidInput: no reference of that name has figures for the dataset.
    """
    known = _with_figures(dataset, spaces)
    wanted = list(known) if ALL in names else list(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        accepted = f"expected one of {', '.join([*known, ALL])}" if known else "no space has published figures for it"
        raise InvalidInput(f"references {', '.join(unknown or names)} on {dataset}: {accepted}")
    rows = []
    for name in wanted:
        space, reference = known[name]
        accuracy, spread = reference.test_accuracy(dataset) or (math.nan, None)
        rows.append(
            {
                "name": name,
                "space": space.name,
                "macs": macs(space, from_genotype(space, reference.genotype), space.published_sizes[dataset]),
                "accuracy": accuracy,
                "accuracy_std": spread,
                "source": reference.published[dataset].get("src", reference.source),
            }
        )
    return pd.DataFrame(rows).astype({"accuracy_std": float})


def _with_figures(dataset: str, spaces: Iterable[str]) -> dict[str, tuple[CellSpace, Reference]]:
    """References that have an accuracy on the dataset, in spaces that say at which size."""
    found = {}
    for name in dict.fromkeys([*registry.names("space"), *spaces]):
        # Somebody's package may be broken in any way: that must not hide the others.
        with contextlib.suppress(Exception):
            space: CellSpace = registry.find("space", name, CellSpace)
            if dataset in space.published_sizes:
                for reference_name, reference in space.references.items():
                    if reference.test_accuracy(dataset) is not None:
                        found[reference_name] = (space, reference)
    return found
