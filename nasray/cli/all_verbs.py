"""All verbs, in the order of the help. A new one is a function and an entry here."""

from __future__ import annotations

from nasray.cli import architectures, reporting, verbs
from nasray.cli.verb import Verb, registered

GROUPS: dict[str, tuple[Verb, ...]] = {
    "run": (
        Verb(
            name="sweep",
            run=verbs.sweep,
            example="nasray sweep digits --budget 0.06",
            more=verbs.more_of_sweep,
            first_decides=True,
            selecting=("preset", "method"),
            first_words=registered("sweep"),
            resumable=True,
        ),
        Verb(
            name="search",
            run=verbs.search,
            example="nasray search gold_nas gold digits --epochs 10",
            more=verbs.more_of_search,
            first_decides=True,
            first_words=registered("method"),
            resumable=True,
        ),
        Verb(
            name="train",
            run=verbs.train,
            example="nasray train darts DARTS_V2 cifar10 --epochs 10",
            more=verbs.more_of_training,
            first_words=registered("space"),
            resumable=True,
        ),
        Verb(
            name="retrain",
            run=verbs.retrain,
            example="nasray retrain runs/digits --epochs 100",
            more=verbs.more_of_retraining,
            first_decides=True,
            resumable=True,
        ),
        Verb(name="resume", run=verbs.resume, example="nasray resume runs/digits", resumable=True),
    ),
    "look": (
        Verb(name="runs", run=verbs.runs, example="nasray runs"),
        Verb(
            name="front",
            run=verbs.front,
            example="nasray front runs/digits --plot front.png",
            more=verbs.more_of_front,
        ),
        Verb(name="report", run=reporting.report, example="nasray report runs/digits"),
        Verb(name="list", run=verbs.list_, example="nasray list methods"),
    ),
    "architectures": (
        Verb(
            name="cost",
            run=architectures.cost,
            example="nasray cost darts DARTS_V2",
            first_words=registered("space"),
        ),
        Verb(
            name="draw",
            run=architectures.draw,
            example="nasray draw darts DARTS_V2 --out cells.png",
            first_words=registered("space"),
        ),
        Verb(name="export", run=architectures.export, example="nasray export runs/digits best --out digits.onnx"),
    ),
}
VERBS: dict[str, Verb] = {verb.name: verb for group in GROUPS.values() for verb in group}
