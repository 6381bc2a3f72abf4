"""The dashboard asks for nothing that is not exported, and Grafana's own schema knows all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nasray.tune.reports.metrics import FIGURES, OF_RUN

FOLDER = Path(__file__).parents[3] / "cluster" / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana" / "dashboards" / "nasray.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OURS = {f"ray_{name}" for name in (*OF_RUN, *(figure.name for figure in FIGURES))}


def expressions() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


def names(expression: str) -> set[str]:
    return set(re.findall(r"\bray_\w+", expression))


def rays_own() -> set[str]:
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    return {f"ray_{name}" for name in METRICS_GAUGES}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: f"{panel['id']} {panel['title']}")
def test_every_panel_asks_for_what_is_exported(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        asked = names(target["expr"])
        assert asked
        assert asked <= OURS | rays_own()
        # A run's figures are those of the chosen runs.
        assert ('run=~"$run"' in target["expr"]) == bool(asked & OURS)


def test_every_figure_has_a_panel() -> None:
    assert {name for text in expressions() for name in names(text)} >= OURS


def test_units_are_those_of_the_names() -> None:
    of_suffix = {"ratio": "percentunit", "macs": "si:macs", "bytes": "bytes", "seconds": "s"}
    for panel in PANELS:
        for target in panel["targets"]:
            for name in names(target["expr"]) & OURS:
                suffix = name.rpartition("_")[2] if "per_second" not in name else ""
                assert panel["fieldConfig"]["defaults"]["unit"] == of_suffix.get(
                    suffix, panel["fieldConfig"]["defaults"]["unit"]
                )


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_grafanas_own_schema_loses_none_of_it() -> None:
    pytest.importorskip("grafana_foundation_sdk", reason="Grafana's schema is not installed: pip install '.[test]'")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    read = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(DASHBOARD)))
    assert list(lost(DASHBOARD, read)) == []
    # What Grafana does not know is lost.
    unknown = {**DASHBOARD, "panel": []}
    assert list(lost(unknown, json.loads(JSONEncoder().encode(Dashboard.from_json(unknown))))) == [".panel"]


def lost(given: Any, read: Any, where: str = "") -> Iterator[str]:
    """What was given and has not been read."""
    if isinstance(given, dict):
        for name, value in given.items():
            if name in read:
                yield from lost(value, read[name], f"{where}.{name}")
            else:
                yield f"{where}.{name}"
    elif isinstance(given, list) and len(given) == len(read):
        for number, (value, other) in enumerate(zip(given, read, strict=True)):
            yield from lost(value, other, f"{where}[{number}]")
    elif given != read:
        yield where


def test_grafana_is_told_of_the_dashboard_and_of_prometheus() -> None:
    provisioning = FOLDER / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "nasray.yml").read_text())["providers"]
    path = Path(provider["options"]["path"].replace("$NASRAY_MONITORING", str(FOLDER)))
    assert [file.name for file in path.iterdir()] == ["nasray.json"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert source["url"].startswith("http://127.0.0.1:")
    assert DASHBOARD["templating"]["list"][0]["query"] == source["type"]
