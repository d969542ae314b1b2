"""Fill the templates: one page for one verdict, or one page that compares several."""

import json
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from expunge.auditing import Evidence
from expunge.judging import Verdict
from expunge.reporting import numbers, wording
from expunge.reporting.comparing import Judged, contests
from expunge.reporting.limits import limits
from expunge.reporting.page import Page
from expunge.reporting.rows import groups, unmeasured

if TYPE_CHECKING:
    from jinja2 import Environment


def render(evidence: Evidence, verdict: Verdict, *, seal: str = "") -> Page:
    """Write one request's report."""
    title = wording.question(evidence.provenance.targets)
    return _page("report.html.j2", title, chapters=[_chapter(evidence, verdict, seal)])


def overview(cases: Sequence[Judged]) -> Page:
    """Write one page for several attempts: a table first, then every report in full."""
    from expunge.reporting.trading import tradeoffs  # noqa: PLC0415 - altair is heavy

    return _page(
        "overview.html.j2",
        "What was forgotten, and at what price?",
        chapters=[_chapter(*case) for case in cases],
        contests=contests(cases),
        tradeoffs=tradeoffs(cases),
    )


def _page(template: str, title: str, **values: Any) -> Page:
    here = files("expunge.reporting")
    script = (here / "page.js").read_text(encoding="utf-8")
    return Page(
        _environment()
        .get_template(template)
        .render(
            title=title,
            style=(here / "page.css").read_text(encoding="utf-8"),
            script=script,
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
            symbols=wording.SYMBOLS,
            **values,
        )
    )


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - needed here only

    environment = Environment(
        loader=PackageLoader("expunge.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typeset"] = numbers.typeset
    environment.filters["sentence"] = _sentence
    environment.filters["setting"] = _setting
    environment.filters["capitalize_first"] = _capital
    return environment


def _chapter(evidence: Evidence, verdict: Verdict, seal: str) -> dict[str, Any]:
    """Everything that one report says, ready for the template."""
    from expunge.reporting.charts import figures  # noqa: PLC0415 - altair is heavy

    provenance, rows = evidence.provenance, groups(evidence)
    return {
        "asked": wording.asked(provenance.targets),
        "question": wording.question(provenance.targets),
        "requests": evidence.request_ids,
        "verdict": verdict,
        "meaning": wording.meaning(verdict.word, provenance.kind),
        "tier": wording.TIERS[provenance.tier],
        "provenance": provenance,
        "settings": {k: v for k, v in provenance.settings.items() if v is not None},
        "unset": [k for k, v in provenance.settings.items() if v is None],
        "seconds": "" if provenance.seconds is None else numbers.duration(provenance.seconds),
        "audit_seconds": numbers.duration(provenance.audit_seconds),
        "groups": rows,
        "scaled": any(row.marks for group in rows for row in group.rows),
        "unmeasured": unmeasured(evidence),
        "figures": figures(evidence),
        "limits": limits(evidence),
        "cost": _cost(evidence),
        "digest": evidence.digest,
        "seal": seal,
    }


def _cost(evidence: Evidence) -> list[tuple[str, str]]:
    """What was spent, step by step, as far as it was kept."""
    seen = evidence.provenance
    steps = {"unlearning": seen.seconds, **seen.spent, "measuring": seen.audit_seconds}
    return [(what.capitalize(), numbers.duration(s)) for what, s in steps.items() if s is not None]


def _sentence(text: str) -> str:
    """Text that starts with a capital letter and ends with a full stop."""
    text = numbers.typeset(text.strip())
    ended = text if text.endswith((".", "!", "?")) else f"{text}."
    return _capital(ended)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _setting(value: Any) -> str:
    """A setting's value, without the quotes and braces of JSON where it has none."""
    if isinstance(value, float):
        return numbers.number(value) if abs(value) < 1e-4 else numbers.typeset(f"{value:g}")
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
