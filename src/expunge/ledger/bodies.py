"""What the entries of a ledger say, and nothing that names a person."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from expunge.auditing import Evidence
from expunge.errors import BadSetting, RequestDoesNotFit
from expunge.judging import Verdict, judge
from expunge.request import Request
from expunge.storing import digest_json


@dataclass(frozen=True, slots=True)
class Opening:
    """The first entry: whose ledger this is."""

    project: str
    key: str  # fingerprint
    opened: datetime
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is kept of one settled request: as many fields as there are things to answer for."""

    request: str
    kind: str
    counts: dict[str, int]
    subject: str  # keyed hash; empty where nobody was named
    received: datetime
    due: datetime | None  # None: nobody set a date
    reason: str
    method: str
    settings: str  # digest
    original: str  # digest of the weights before; empty where the evidence does not know it
    unlearned: str  # and after
    evidence: str  # SHA-256 of the evidence as JSON: what `sha256sum` prints for the file
    verdict: Verdict
    settled: datetime
    version: Literal[1] = 1


_SHAPES: dict[str, type[Opening | Settlement]] = {"opened": Opening, "settled": Settlement}

OWN = tuple(_SHAPES)
"""The kinds that only the ledger itself enters."""


def settled(request: Request, evidence: Evidence, verdict: Verdict, subject: str) -> Settlement:
    """How a request ended; ``subject`` is its hash."""
    seen = evidence.provenance
    return Settlement(
        request.id,
        seen.kind,
        seen.counts,
        subject,
        request.received.astimezone(UTC),
        request.due and request.due.astimezone(UTC),
        request.reason,
        seen.method,
        digest_json(seen.settings),
        seen.digests.get("original", ""),
        seen.digests.get("unlearned", ""),
        evidence.digest,
        verdict,
        datetime.now(UTC),
    )


def check_settled(request: Request, evidence: Evidence, verdict: Verdict) -> None:
    """Refuse evidence of another request, another verdict, and texts that name the subject.

    A ledger is for ever: a name in it could never be taken out again.
    """
    if request.id not in evidence.request_ids:
        raise RequestDoesNotFit(
            f"the evidence is about request {', '.join(evidence.request_ids)}, not {request.id}",
            hint="settle a request with the evidence of its own audit.",
        )
    if verdict != judge(evidence):
        raise BadSetting(
            f"the evidence does not support the verdict {verdict.word!r} with these reasons",
            hint="settle what `expunge.judge(evidence)` returns.",
        )
    if not request.subject:
        return
    named = re.compile(rf"(?<!\w){re.escape(request.subject)}(?!\w)", re.IGNORECASE)
    for where, text in (("id", request.id), ("reason", request.reason)):
        if named.search(text):
            raise BadSetting(
                f"the {where} of request {request.id} names its subject, "
                f"which a ledger keeps as a hash only",
                hint=f"write the {where} without the name.",
            )


def as_text(body: Opening | Settlement | Mapping[str, Any]) -> str:
    """A body as one line of JSON, always the same for the same content."""
    try:
        plain = _plain(body) if isinstance(body, (Opening, Settlement)) else body
        text = json.dumps(
            {"version": 1, **plain},
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
        text.encode()  # half a surrogate pair is a str in Python, and a text nowhere else
    except (TypeError, ValueError, RecursionError) as why:
        raise BadSetting(
            f"the body of a ledger entry is not JSON: {why}",
            hint="use texts, finite numbers, lists and mappings.",
        ) from why
    return text


def _plain(body: Opening | Settlement) -> dict[str, Any]:
    from pydantic import TypeAdapter  # noqa: PLC0415 - heavy, and needed at the border only

    plain: dict[str, Any] = TypeAdapter(type(body)).dump_python(body, mode="json")
    return plain


def read(kind: str, text: str) -> dict[str, Any]:
    """A body from its text; ValueError where it is not what its kind promises."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - see _plain

    body = json.loads(text)
    if not isinstance(body, dict):
        raise ValueError(f"a {type(body).__name__} is no body")  # noqa: TRY004 - one fault, one type
    if kind in _SHAPES:
        TypeAdapter(_SHAPES[kind]).validate_json(text)
    return body
