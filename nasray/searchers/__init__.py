"""Black-box searchers: they propose architectures (ask) and learn their results (tell). None of them needs Ray."""

from nasray.searchers.by_name import find_searcher, is_searcher
from nasray.searchers.searcher import (
    BASELINE,
    EPOCH,
    OBJECTIVES,
    Feedback,
    Known,
    Mode,
    Proposal,
    Searcher,
    SearchProblem,
    catch_up,
    feedback_of,
    rebuilt,
)

__all__ = [
    "BASELINE",
    "EPOCH",
    "OBJECTIVES",
    "Feedback",
    "Known",
    "Mode",
    "Proposal",
    "SearchProblem",
    "Searcher",
    "catch_up",
    "feedback_of",
    "find_searcher",
    "is_searcher",
    "rebuilt",
]
