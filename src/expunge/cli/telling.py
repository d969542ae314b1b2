"""How evidence and verdicts read on a terminal, and as JSON."""

import json
from collections.abc import Sequence
from typing import Any

from expunge.auditing import Evidence
from expunge.cli.showing import say, table
from expunge.judging import UTILITY, Verdict, Word, deciding
from expunge.metric import Measurement
from expunge.reporting import Judged
from expunge.reporting.numbers import duration, mean_and_range, number, with_interval
from expunge.reporting.wording import SYMBOLS, asked

_COLOURS: dict[Word, str] = {"equivalent": "green", "residual": "red", "inconclusive": "yellow"}

_COSTS = ("seconds to unlearn", "speed relative to retraining")
"""What a reader asks next."""


def as_body(evidence: Evidence, verdict: Verdict, **more: Any) -> dict[str, Any]:
    """Everything about one outcome, as JSON."""
    return {
        "verdict": {
            "word": verdict.word,
            "degraded": verdict.degraded,
            "reasons": list(verdict.reasons),
            "tier": verdict.tier,
        },
        **more,
        "evidence": json.loads(evidence.to_json()),
    }


def tell(evidence: Evidence, verdict: Verdict) -> None:
    """Print what was done, the few numbers that matter, and the verdict with its reasons."""
    say(_headline(evidence))
    decides = deciding(evidence)
    chosen = [*_shared_columns(evidence), *_COSTS]
    rows = [_row(m, decides) for m in map(evidence.measurement, chosen) if m.value is not None]
    table(["measurement", "original", "unlearned", "retrained", ""], rows)
    tell_verdict(verdict)


def tell_verdict(verdict: Verdict) -> None:
    """Print the word, what was lost, and why."""
    say(f"Verdict: {_word(verdict)} (tier: {verdict.tier})", colour=_COLOURS[verdict.word])
    for reason in verdict.reasons:
        say(f"  - {reason}")


def tell_all(cases: Sequence[Judged], names: Sequence[str]) -> None:
    """Print several methods on one request as one table, between the original and retraining."""
    first = cases[0][0]
    chosen = _few_columns(first)
    say(f"To forget: {asked(first.provenance.targets)}")
    measured = [first.measurement(name) for name in chosen]
    rows = [["original", *[_original(m) for m in measured], "", ""]]
    for name, (evidence, verdict, _) in zip(names, cases, strict=True):
        values = [_value(evidence.measurement(column)) for column in chosen]
        seconds = evidence.provenance.seconds
        rows.append([name, *values, _lasted(seconds), _word(verdict)])
    if any(m.target for m in measured):
        rows.append(["retrained", *[_target(m) for m in measured], "", ""])
    table(["", *chosen, "time", "verdict"], rows)
    for name, (_, verdict, _) in zip(names, cases, strict=True):
        say(f"{name}: {_word(verdict)}", colour=_COLOURS[verdict.word])
        for reason in verdict.reasons:
            say(f"  - {reason}")


def _headline(evidence: Evidence) -> str:
    seen = evidence.provenance
    counts = seen.counts
    total = counts["forget"] + counts["retain"]
    gone = f" ({counts['forget']:,} of {total:,} training samples)" if counts["forget"] else ""
    took = "" if seen.seconds is None else f", {duration(seen.seconds)}"
    seed = "" if seen.seed is None else f", seed {seen.seed}"
    return f"To forget: {asked(seen.targets)}{gone}. Method: {seen.method}{seed}{took}."


def _row(m: Measurement, decides: Sequence[str]) -> list[str]:
    role = "decides" if m.name in decides else "must not suffer" if m.name in UTILITY else ""
    low, high = m.interval or (None, None)
    value = "" if m.value is None else with_interval(m.value, low, high)
    return [m.name, _original(m), value, _target(m), role]


def _shared_columns(evidence: Evidence) -> list[str]:
    """What decides, and what must not suffer: the few numbers that a choice rests on."""
    wanted = [*deciding(evidence), *UTILITY]
    taken = {m.name for m in evidence.measurements if m.value is not None}
    return [name for name in wanted if name in taken]


def _few_columns(evidence: Evidence) -> list[str]:
    """What decides, and one accuracy: a table of methods has a row for each, and little room."""
    shared = _shared_columns(evidence)
    useful = [name for name in shared if name in UTILITY and name.startswith("test accuracy")]
    return [name for name in shared if name not in UTILITY] + useful[:1]


def _original(m: Measurement) -> str:
    return "" if m.original is None else number(m.original.value)


def _value(m: Measurement) -> str:
    return "not measured" if m.value is None else number(m.value)


def _target(m: Measurement) -> str:
    if not m.target:
        return ""
    mean, spread = mean_and_range(m.target)
    return f"{mean} ({spread})" if spread else mean


def _lasted(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _word(verdict: Verdict) -> str:
    return f"{SYMBOLS[verdict.word]} {verdict.word}" + (", degraded" if verdict.degraded else "")
