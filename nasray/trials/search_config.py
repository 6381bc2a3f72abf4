"""What a search depends on: method, space, dataset and settings, and the sizes that follow from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nasray import registry
from nasray.costs import Budget
from nasray.errors import InvalidInput, shown
from nasray.methods.method import SearchMethod
from nasray.settings import TrainingSettings, check_seed
from nasray.spaces import CellSpace, NetworkSize
from nasray.training.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """All that a search depends on; with the same config it gives the same architectures.

    Raises:
        InvalidInput: there is no such method, space or dataset, or the method cannot search the space.
    """

    method: str
    space: str
    dataset: str
    settings: TrainingSettings
    """The method's ``Config``."""
    seed: int = 0
    evaluation_channels: int | None = None
    """Channels of the networks whose cost counts; None is the space's own number."""
    evaluation_cells: int | None = None
    """Cells of those networks; None is the space's own number, or the supernet's where every position chooses."""
    evaluation_skeleton: str | None = None
    """What surrounds the cells of those networks; None is what surrounds the supernet's."""
    evaluation_width_budget: float | None = None
    """Multiply-adds (M): each of those networks has the largest number of channels that obeys it; None is
    ``evaluation_channels`` for all."""
    budget: float | None = None
    """Most multiply-adds (M) of the networks whose cost counts; methods that can aim at it do."""
    data_root: str | None = None
    """Folder of the dataset; None is the environment's NASRAY_DATA."""

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)
        if self.budget is not None:
            Budget(self.budget)
        object.__setattr__(self, "data_root", registry.absolute_path(self.data_root))
        for kind in ("method", "space", "dataset"):
            object.__setattr__(self, kind, registry.absolute(getattr(self, kind)))
        registry.find("dataset", self.dataset)
        reason = self.method_class.unsupported(self.cell_space)
        if reason is not None:
            raise InvalidInput(f"method {self.method!r} on space {self.space!r}: {reason}")

    @property
    def method_class(self) -> type[SearchMethod]:
        """The method behind the name."""
        return find_method(self.method)

    @property
    def cell_space(self) -> CellSpace:
        """The search space behind the name."""
        found: CellSpace = registry.find("space", self.space, CellSpace)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> SearchConfig:
        """A config from what :meth:`to_dict` gave.

        Raises:
            InvalidInput: an unknown setting, or a value that is not accepted.
        """
        settings = find_method(values["method"]).Config.of(values["settings"])
        return cls(**{**values, "settings": settings})


def find_method(name: str) -> type[SearchMethod]:
    """A method's class by its name.

    Raises:
        InvalidInput: it does not exist, or is not a method.
    """
    found = registry.find("method", name)
    if not (isinstance(found, type) and issubclass(found, SearchMethod)):
        raise InvalidInput(f"method {name!r} is {found!r}: expected a subclass of nasray.methods.SearchMethod")
    config = found.Config
    if not (isinstance(config, type) and issubclass(config, TrainingSettings)):
        raise InvalidInput(f"method {name!r} with Config {shown(config)}: expected a subclass of TrainingSettings")
    return found


def sizes(config: SearchConfig, space: CellSpace, dataset: Dataset) -> tuple[NetworkSize, NetworkSize]:
    """Size of the supernet, and size at which its architectures are evaluated, but for a width that follows from each.

    Raises:
        InvalidInput: so few cells that a kind of cell does not occur, or another number of them at evaluation where
            every position chooses.
    """
    settings = config.settings
    search = NetworkSize(
        channels=settings.channels or space.search_channels,
        cells=settings.cells or space.search_cells,
        input_shape=dataset.input_shape,
        classes=dataset.classes,
        skeleton=settings.skeleton,
    )
    absent = [kind for kind in space.cells if kind not in space.kinds(search.cells)]
    if absent and not space.cell_per_position:
        raise InvalidInput(
            f"cells {search.cells} on {space.name!r}: expected enough for a {absent[0]!r} cell to search"
        )
    own_cells = search.cells if space.cell_per_position else space.evaluation_cells
    evaluation = search.replace(
        channels=config.evaluation_channels or space.evaluation_channels,
        cells=config.evaluation_cells or own_cells,
        skeleton=config.evaluation_skeleton or settings.skeleton,
    )
    if space.cell_per_position and evaluation.cells != search.cells:
        raise InvalidInput(
            f"evaluation with {evaluation.cells} cells after a search with {search.cells} on {space.name!r}: "
            f"expected {search.cells}, for every position has a choice of its own"
        )
    return search, evaluation
