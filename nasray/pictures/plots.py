"""Fronts as a picture: accuracy against multiply-adds, or another cost, with everything that lies behind each front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from nasray.errors import InvalidInput, printable
from nasray.fronts.across import COSTS
from nasray.fronts.attainment import attained
from nasray.pictures.files import rendered, write_picture
from nasray.runs.schema import CANDIDATES, EVALUATIONS, LOOKED_UP, is_looked_up, kinds_of, metric_of
from nasray.spaces.metric import ACCURACY, Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart, without the yellow that is lost on white;
# the markers tell them apart in print.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_REFERENCE_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
_INK, _GRID = "#333333", "#E3E3E3"
_KINDS = {kind: f"{kind}, validation split" for kind in (CANDIDATES.kind, EVALUATIONS.kind)}


def plot_front(
    frames: pd.DataFrame | Mapping[str, pd.DataFrame],
    path: str | Path,
    *,
    points: Mapping[str, pd.DataFrame] | None = None,
    references: pd.DataFrame | None = None,
    bands: Mapping[str, pd.DataFrame] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    title: str | None = None,
    minimise: str = "macs",
) -> None:
    """Write the picture of :func:`front_figure` to a .png, .svg or .pdf file.

    Args:
        frames: a front, or several by what they are called.
        path: file to write.
        points: as of :func:`front_figure`, like what follows.
        references: published architectures.
        bands: attainment surfaces.
        title: of the picture.
        minimise: the cost.

    Raises:
        InvalidInput: another ending, a path that cannot be written, and what :func:`front_picture` refuses.
    """
    named = {"front": frames} if isinstance(frames, pd.DataFrame) else frames

    def draw(form: str) -> bytes:
        return front_picture(
            named,
            points=points,
            references=references,
            bands=bands,
            labels=labels,
            title=title,
            minimise=minimise,
            form=form,
        )

    write_picture(path, draw)


def front_picture(
    frames: Mapping[str, pd.DataFrame],
    *,
    points: Mapping[str, pd.DataFrame] | None = None,
    references: pd.DataFrame | None = None,
    bands: Mapping[str, pd.DataFrame] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    title: str | None = None,
    minimise: str = "macs",
    form: str = "png",
) -> bytes:
    """The picture of :func:`front_figure`, with the same arguments, as png, svg or pdf."""
    figure = front_figure(
        frames, points=points, references=references, bands=bands, labels=labels, title=title, minimise=minimise
    )
    return rendered(figure, form)


def front_figure(
    frames: Mapping[str, pd.DataFrame],
    *,
    points: Mapping[str, pd.DataFrame] | None = None,
    references: pd.DataFrame | None = None,
    bands: Mapping[str, pd.DataFrame] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    title: str | None = None,
    minimise: str = "macs",
) -> Figure:
    """Draw fronts by name as steps, and faintly behind each the `points` of that name: all rows of its run.

    frames, points: columns `minimise` (M for macs) and that of their metric, such as `accuracy`; `accuracy_std` gives
    error bars.
    bands: surfaces by name, as :func:`attainment_surfaces` gives them: the middle one as steps, and all between the
    outermost.
    references: published architectures, hollow: a column `name` besides these three; their accuracies are of another
    kind, on the test split, and the legend says so. The axis of the cost is logarithmic where it spans more than a
    decade. Rows far worse than the fronts, or far dearer, lie outside of the axes, and the picture says how many.
    labels: a short text for each row of the frame of that name, beside its mark; an empty one is none.
    InvalidInput: a frame without the two columns, frames of two kinds of accuracy or of two metrics.
    """
    # pyplot is left alone: it keeps global state, and may look for a display.
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    points, bands = points or {}, bands or {}
    given = [*frames.items(), *points.items(), *bands.items()]
    metrics = {metric_of(frame).name: metric_of(frame) for _, frame in given if len(frame)}
    if len(metrics) > 1:
        raise InvalidInput(f"plot: expected frames of one metric, not of {' and '.join(sorted(metrics))}")
    metric = next(iter(metrics.values()), ACCURACY)
    given += [] if references is None else [("references", references)]
    for name, frame in (one for one in given if len(one[1])):
        missing = [column for column in (minimise, metric.name) if column not in frame.columns]
        if missing:
            raise InvalidInput(f"plot: the frame {name!r} has no column {', '.join(missing)}")
    kinds = sorted({kind for frame in (*frames.values(), *points.values()) for kind in kinds_of(frame)})
    if len(kinds) > 1:
        raise InvalidInput(f"plot: expected frames of one kind of accuracy, not of {' and '.join(kinds)}")

    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    everything = [
        _finite(frame, metric, minimise)[minimise].to_numpy(dtype=np.float64)
        for frame in (*frames.values(), *points.values(), *bands.values())
    ]
    costs = np.concatenate(everything) if everything else np.empty(0)
    shown = costs if references is None else np.append(costs, references[minimise])
    right = costs.max() if costs.size else 0.0
    if shown.size and shown.min() > 0 and shown.max() > 10 * shown.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    names = list(dict.fromkeys((*frames, *points, *bands)))
    for place, name in enumerate(names):
        if name in points:
            behind = _finite(points[name], metric, minimise)
            colour = _COLOURS[place % len(_COLOURS)]
            # Thousands of points would make an enormous vector file.
            axes.scatter(
                behind[minimise], behind[metric.name], s=14, color=colour, alpha=0.33, linewidths=0, zorder=1,
                rasterized=len(behind) > 2000,
            )  # fmt: skip
    for place, name in enumerate(names):
        if name in frames:
            _draw_front(axes, name, _finite(frames[name], metric, minimise), metric, minimise, place, right)
        if name in bands:
            _draw_band(axes, name, bands[name], metric, minimise, place, right)
    if references is not None:
        _draw_references(axes, references, metric, minimise)

    outside = _limit(axes, frames, points, references, metric, minimise)
    axes.set_xlabel(printable(COSTS.get(minimise, minimise)), color=_INK, parse_math=False)
    of = _KINDS.get(kinds[0], kinds[0]) if kinds else ""
    if all(map(is_looked_up, filter(len, (*frames.values(), *points.values())))) and kinds:
        of = f"{LOOKED_UP} in a table"
    axes.set_ylabel(printable(f"{metric.label} ({of})" if of else metric.label), color=_INK, parse_math=False)
    if title:
        axes.set_title(printable(title), loc="left", color=_INK, fontsize=11, parse_math=False)
    if outside:
        said = f"{outside} row{' lies' if outside == 1 else 's lie'} outside of this picture"
        axes.set_title(said, loc="right", color=_INK, fontsize=9)
    axes.grid(True, color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(colors=_INK, labelsize=9)
    if axes.get_legend_handles_labels()[0]:
        legend = axes.legend(
            loc="lower right" if metric.higher_is_better else "upper right",
            frameon=True,
            framealpha=0.9,
            edgecolor="none",
            fontsize=9,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name is no formula
    if labels:
        figure.draw_without_rendering()  # until then nobody knows how large the axes are
        for name, own in labels.items():
            _draw_labels(axes, own, frames[name], metric, minimise)
    return figure


def _label(text: str) -> str:
    """Text of any origin in a legend, which leaves out what begins with an underscore."""
    plain = printable(text)
    return f" {plain}" if plain.startswith("_") else plain


def _draw_front(
    axes: Axes, name: str, front: pd.DataFrame, metric: Metric, minimise: str, place: int, right: float
) -> None:
    colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
    front = front.sort_values(minimise, kind="stable")
    x = front[minimise].to_numpy(dtype=np.float64)
    y = front[metric.name].to_numpy(dtype=np.float64)
    # A front holds to the right of its last point too: who may spend more need not.
    held = (np.append(x, right), np.append(y, y[-1])) if len(x) else (x, y)
    axes.step(*held, where="post", color=colour, linewidth=1.4, alpha=0.85, zorder=2)
    axes.plot(
        x, y, linestyle="none", marker=marker, markersize=6, color=colour, markeredgecolor="white",
        markeredgewidth=0.7, zorder=4, label=_label(f"{name} ({len(front)} on its front)"),
    )  # fmt: skip
    if f"{metric.name}_std" in front.columns:
        axes.errorbar(
            x, y, yerr=front[f"{metric.name}_std"].fillna(0.0).to_numpy(dtype=np.float64), fmt="none",
            ecolor=colour, elinewidth=1.0, capsize=2.5, alpha=0.7, zorder=3,
        )  # fmt: skip


def _draw_labels(axes: Axes, labels: Sequence[str], front: pd.DataFrame, metric: Metric, minimise: str) -> None:
    # On the side of its mark where no row can be: what were there would be on the front in its place. Where another
    # label stands already it moves away from the front. Lengths are in points; a letter takes 6 by 9.
    away, there = 1 if metric.higher_is_better else -1, list[tuple[float, float]]()
    for label, x, y in zip(labels, front[minimise], front[metric.name], strict=True):
        if not label:
            continue
        across, up = (float(one) * 72 / axes.figure.dpi for one in axes.transData.transform((x, y)))
        off = 3 * away
        while any(abs(across - one) < 6 * len(label) and abs(up + off - other) < 9 for one, other in there):
            off += away
        there.append((across, up + off))
        axes.annotate(
            printable(label), (x, y), xytext=(-4, off), textcoords="offset points", ha="right",
            va="bottom" if away > 0 else "top", fontsize=8, color=_INK, zorder=6, parse_math=False,
            annotation_clip=True,
        )  # fmt: skip


def _limit(
    axes: Axes,
    frames: Mapping[str, pd.DataFrame],
    points: Mapping[str, pd.DataFrame],
    references: pd.DataFrame | None,
    metric: Metric,
    minimise: str,
) -> int:
    """Limit the axes so that rows far off cannot press the fronts together; gives how many lie outside then.

    Of the metric the axis shows the best quarter of all rows, and two and a half times what lies between the best row
    and the lower quartile of the fronts (our choice); of the cost all of the fronts. What is little more is shown as a
    whole.
    """
    fronts = [_finite(frame, metric, minimise) for frame in frames.values()]
    everything = [_finite(frame, metric, minimise) for frame in {**frames, **points}.values()]
    if references is not None:
        everything.append(_finite(references, metric, minimise))
    if not sum(map(len, fronts)):
        return 0
    own, rows = pd.concat(fronts, ignore_index=True), pd.concat(everything, ignore_index=True)
    logarithmic = axes.get_xscale() == "log"

    def cheapness(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        values = frame[minimise].to_numpy(dtype=np.float64)
        return -np.log10(values) if logarithmic else -values

    def gains(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        return -metric.sign * frame[metric.name].to_numpy(dtype=np.float64)

    enough = gains(own).max() - 2.5 * (gains(own).max() - float(np.quantile(gains(own), 0.25)))
    low, best = _reach(gains(rows), min(float(np.quantile(gains(rows), 0.75)), enough), more=1.5)
    dearest, cheapest = _reach(cheapness(rows), float(cheapness(own).min()), more=2.5)
    outside = int(((gains(rows) < low) | (cheapness(rows) < dearest)).sum())
    if outside:
        pad = 0.06 * (best - low) or 0.05
        axes.set_ylim(*sorted((-metric.sign * (low - pad), -metric.sign * (best + pad))))
        pad = 0.05 * (cheapest - dearest) or 0.05
        left, right = -cheapest - pad, -dearest + pad
        axes.set_xlim(*((10**left, 10**right) if logarithmic else (left, right)))
    return outside


def _reach(values: npt.NDArray[np.float64], enough: float, more: float) -> tuple[float, float]:
    """From where to where an axis reaches, more being better: to the worst value, unless that takes `more` times as
    much room as what is enough."""
    worst, best = float(values.min()), float(values.max())
    return (worst if best - worst <= more * (best - enough) else max(worst, enough)), best


def _draw_band(
    axes: Axes, name: str, surfaces: pd.DataFrame, metric: Metric, minimise: str, place: int, right: float
) -> None:
    colour = _COLOURS[place % len(_COLOURS)]
    fractions = sorted(surfaces["fraction"].unique())
    if not fractions:
        return
    middle = min(fractions, key=lambda fraction: abs(fraction - 0.5))
    for fraction in {fractions[0], middle, fractions[-1]}:
        surface = surfaces[surfaces["fraction"] == fraction]
        x, y = np.append(surface[minimise], right), np.append(surface[metric.name], surface[metric.name].iloc[-1])
        outer = fraction != middle
        band = f" (band: {_percent(fractions[0])} to {_percent(fractions[-1])})" if len(fractions) > 1 else ""
        label = None if outer else _label(f"{name}: attained by {_percent(middle)} of repetitions{band}")
        axes.step(
            x, y, where="post", color=colour, linewidth=0.7 if outer else 1.8, alpha=0.6 if outer else 0.95,
            label=label, zorder=2,
        )  # fmt: skip
    x = np.append(np.unique(surfaces[minimise]), right)
    outermost = (surfaces[surfaces["fraction"] == fractions[i]] for i in (0, -1))
    best, worst = (attained(surface, x, minimise=minimise) for surface in outermost)
    axes.fill_between(x, worst, best, step="post", color=colour, alpha=0.18, linewidth=0, zorder=1)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"


def _draw_references(axes: Axes, references: pd.DataFrame, metric: Metric, minimise: str) -> None:
    for place, row in enumerate(references.to_dict("records")):
        spread = row.get(f"{metric.name}_std", np.nan)
        axes.errorbar(
            row[minimise], row[metric.name], yerr=spread if np.isfinite(spread) else None,
            fmt=_REFERENCE_MARKERS[place % len(_REFERENCE_MARKERS)], markersize=7, markerfacecolor="none",
            markeredgecolor=_INK, ecolor=_INK, elinewidth=0.8, capsize=2.5, zorder=5,
            label=_label(f"{row['name']}, published (test)"),
        )  # fmt: skip


def _finite(frame: pd.DataFrame, metric: Metric, minimise: str) -> pd.DataFrame:
    if not len(frame):
        return pd.DataFrame({minimise: [], metric.name: []}, dtype=np.float64)
    numbers = frame[[minimise, metric.name]].to_numpy(dtype=np.float64, na_value=np.nan)
    finite: pd.DataFrame = frame[np.isfinite(numbers).all(axis=1)]
    return finite
