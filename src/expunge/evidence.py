"""What was measured, and under which circumstances: a value to keep, to send and to read back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import isfinite
from typing import Any, ClassVar, Literal

from expunge.errors import BadSetting, CannotRead
from expunge.metric import Measurement
from expunge.storing import check_version

Tier = Literal["smoke", "standard", "strict"]

FEWEST = 3
"""References below which an audit is a smoke test: one to try the audit on, two to compare."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """All that made the evidence: whoever repeats it gets the same numbers.

    It has as many fields as there are things to know.
    """

    kind: str  # samples, classes, attribute, or mixed
    targets: tuple[dict[str, Any], ...]
    counts: dict[str, int]
    tier: Tier
    method: str
    settings: dict[str, Any]
    seed: int | None
    seconds: float | None
    notes: tuple[str, ...]
    traces: dict[str, list[tuple[int, float]]]
    digests: dict[str, str]
    reference_seeds: tuple[int, ...]
    versions: dict[str, str]
    machine: str
    audit_seconds: float
    audited: str = ""  # when, in UTC
    # what would not matter, declared with every metric before it measured anything
    margins: dict[str, dict[str, float]] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)  # seconds on what it is compared with


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured, and under which circumstances. It is never proof."""

    # JSON has no infinity; pydantic would write null, and null means that nothing is known.
    __pydantic_config__: ClassVar = {"ser_json_inf_nan": "strings"}

    request_ids: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    provenance: Provenance
    version: int = field(default=1)

    def measurement(self, name: str) -> Measurement:
        """The measurement of this name, or one that says it was not taken."""
        found = [m for m in self.measurements if m.name == name]
        return found[0] if found else Measurement.missing(name, "it was not part of this audit")

    @property
    def digest(self) -> str:
        """SHA-256 of the JSON text: what ``sha256sum`` says of the saved file."""
        return sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The evidence as JSON; `from_json` reads it back."""
        from pydantic import TypeAdapter  # noqa: PLC0415 - heavy, and needed at the border only

        return TypeAdapter(Evidence).dump_json(self, indent=1).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Evidence":
        """Read evidence, and refuse what is not evidence."""
        from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - see to_json

        try:
            found = TypeAdapter(Evidence).validate_json(text)
        except ValidationError as why:
            raise CannotRead(f"this is not evidence: {why.errors()[0]['msg']}") from why
        check_version("this evidence", found.version)
        _check_sense(found)
        return found


def check_names(measurements: Sequence[Measurement]) -> None:
    """Refuse two measurements of one name: nobody could tell which of them decides."""
    names = [m.name for m in measurements]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BadSetting(
            f"two metrics measure {twice[0]!r}",
            hint="ask for each metric once: nobody could tell which of the two decides.",
        )


def _holds(interval: tuple[float, float], value: float) -> bool:
    return interval[0] <= value <= interval[1]


def _is_target(target: Mapping[str, Any]) -> bool:
    match target:
        case {"kind": "samples", "count": int()} | {"kind": "attribute", "name": str()}:
            return True
        case {"kind": "classes", "labels": [_, *_] as labels}:
            return all(isinstance(label, int) for label in labels)
        case _:
            return False


def _check_sense(evidence: Evidence) -> None:
    """Refuse what no audit writes: a file may have been edited by hand."""
    check_names(evidence.measurements)
    if not all(_is_target(target) for target in evidence.provenance.targets):
        raise CannotRead("this is not evidence: a target does not say what was to be forgotten")
    for m in evidence.measurements:
        compared = [c for c in (m.comparison, m.control, m.selftest) if c is not None]
        spans = [c.difference for c in compared] + ([m.original] if m.original else [])
        sensible = (
            all(span.low <= span.value <= span.high for span in spans)
            and all(0 <= c.p <= 1 for c in compared)
            and len({c.margin for c in compared}) <= 1
            and (m.value is None or isfinite(m.value))
            and (m.value is None or m.interval is None or _holds(m.interval, m.value))
        )
        if not sensible:
            raise CannotRead(
                f"this is not evidence: the numbers of {m.name!r} contradict each other",
                hint="it was changed after it was written; audit again.",
            )
