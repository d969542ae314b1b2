"""Several attempts side by side: what was there, what each method left, what retraining gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from expunge.auditing import Evidence
from expunge.judging import Verdict, deciding
from expunge.reporting.numbers import duration, number
from expunge.reporting.rows import Cell, Row, groups
from expunge.reporting.wording import asked

Judged = tuple[Evidence, Verdict, str]
"""Evidence, the verdict on it, and the ledger's seal; an empty seal was never entered."""

_USEFULNESS = (
    "test accuracy, kept classes",
    "test accuracy",
    "test loss, kept classes",
    "test loss",
)
_NOTHING = Row("", "", Cell(), Cell(), Cell(), Cell(), "", 0, "", ())


@dataclass(frozen=True, slots=True)
class Attempt:
    """One method's line in a comparison."""

    place: int  # of its full report on the page, from one
    method: str
    verdict: Verdict
    decides: Row
    besides: Row  # decides too, of another kind
    useful: Row
    seconds: str
    faster: str


@dataclass(frozen=True, slots=True)
class Contest:
    """All attempts at the same request."""

    asked: str
    attempts: tuple[Attempt, ...]

    @property
    def first(self) -> Attempt:
        """The attempt that stands for what all of them share."""
        return self.attempts[0]


def contests(cases: Sequence[Judged]) -> list[Contest]:
    """The attempts, those at the same request together, in the order given."""
    placed = [(place, *case) for place, case in enumerate(cases, start=1)]
    together = groupby(placed, key=lambda case: (case[1].request_ids, case[1].provenance.targets))
    return [
        Contest(asked(targets), tuple(_attempt(place, e, v) for place, e, v, _ in found))
        for (_, targets), found in together
    ]


def _attempt(place: int, evidence: Evidence, verdict: Verdict) -> Attempt:
    provenance, decides = evidence.provenance, deciding(evidence)
    rows = {row.name: row for group in groups(evidence) for row in group.rows}
    faster = evidence.measurement("speed relative to retraining").value
    return Attempt(
        place,
        provenance.method,
        verdict,
        first := _first(rows, decides),
        _first(rows, [name for name in decides if _kind(name) != _kind(first.name)]),
        _first(rows, _USEFULNESS),
        "" if provenance.seconds is None else duration(provenance.seconds),
        "" if faster is None else f"{number(faster, 0 if faster >= 10 else 1)}×",  # noqa: RUF001
    )


def _kind(name: str) -> str:
    """What is measured, whoever it is asked about."""
    return name.partition(",")[0]


def _first(rows: dict[str, Row], names: Sequence[str]) -> Row:
    """The first of these that was measured, or a row that says nothing."""
    return next((rows[name] for name in names if name in rows), _NOTHING)
