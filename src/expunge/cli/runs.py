"""The folder that a request leaves: what was asked, the model, the evidence, verdict, report."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from expunge.auditing import Evidence
from expunge.errors import CannotRead, CannotWrite
from expunge.judging import Verdict
from expunge.outcome import Outcome
from expunge.request import Request, Samples, describe
from expunge.storing import read_json, write_json, write_text

REQUEST, MODEL, EVIDENCE, VERDICT, REPORT, REHEARSAL = (
    "request.json",
    "model.safetensors",
    "evidence.json",
    "verdict.json",
    "report.html",
    "rehearsal.json",
)

_MAKER = re.compile(r"\.(\d+)-[^.]*\.partial$")  # the process, in the name of a folder

_HEAD = ("expunge", "version")  # what every file of ours begins with


@contextmanager
def new_run(runs: Path, name: str) -> Iterator[Path]:
    """Lend a folder that takes its place when all went well, and is gone when not."""
    folder = runs / name
    _check_first(folder)
    with _spoken(runs):
        runs.mkdir(parents=True, exist_ok=True)
        beside = Path(mkdtemp(prefix=f".{name}.{os.getpid()}-", suffix=".partial", dir=runs))
    try:
        yield beside
        _check_first(folder)  # another run of the same request may have been faster
        with _spoken(folder):
            beside.chmod(0o755)
            beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def abandoned(runs: Path) -> list[Path]:
    """Folders of runs that were killed: whoever made them lives no more."""
    found = ((path, _MAKER.search(path.name)) for path in sorted(runs.glob(".*.partial")))
    return [path for path, maker in found if maker and not _lives(int(maker[1]))]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is somebody else's
    return True


def _check_first(folder: Path) -> None:
    if folder.exists():
        raise CannotWrite(
            f"{folder} exists already: a request is carried out once",
            hint="give the request another --id, or none.",
        )


@contextmanager
def _spoken(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as why:
        raise CannotWrite(
            f"{folder} could not be made: {why.strerror or why}",
            hint="name a folder that you may write to: [folders] runs in expunge.toml.",
        ) from why


def keep(
    folder: Path, request: Request, outcome: Outcome, evidence: Evidence, verdict: Verdict
) -> None:
    """Write what a request left. The subject is not among it: the ledger keeps a keyed hash."""
    asked = {
        "id": request.id,
        "target": describe(request.target),
        "positions": outcome.split.forget.indices.tolist(),  # so that `purge` finds them again
        "received": request.received.isoformat(),
        "due": request.due and request.due.isoformat(),
        "reason": request.reason,
        "training data": evidence.provenance.digests["training data"],
        "method": evidence.provenance.method,
        "settings": evidence.provenance.settings,
        "seed": evidence.provenance.seed,
    }
    write_json(folder / REQUEST, "request", asked)
    outcome.save(folder / MODEL)
    keep_evidence(folder, evidence, verdict)


def keep_evidence(folder: Path, evidence: Evidence, verdict: Verdict) -> None:
    """Write what was found, as the ledger's digest of it will be checked: byte for byte."""
    write_text(folder / EVIDENCE, evidence.to_json())
    write_json(folder / VERDICT, "verdict", asdict(verdict))


def read_evidence(path: Path) -> Evidence:
    """The evidence of a run folder, or of a file."""
    file = path / EVIDENCE if path.is_dir() else path
    try:
        text = file.read_bytes()
    except OSError as why:
        raise CannotRead(
            f"{file} is not readable: {why.strerror or why}",
            hint="name the folder of a run, or its evidence.json.",
        ) from why
    return Evidence.from_json(text)


def request_again(folder: Path, subject: str) -> Request:
    """The request of a run; whose it is was not kept, and what it names is in the evidence."""
    body = read_request(folder)
    due = body["due"]
    return Request(
        Samples(()),
        subject=subject,
        id=body["id"],
        received=datetime.fromisoformat(body["received"]),
        due=due and datetime.fromisoformat(due),
        reason=body["reason"],
    )


def read_request(folder: Path) -> dict[str, Any]:
    """What a run folder says was asked."""
    body = read_json(folder / REQUEST, "request")
    positions = body.get("positions")
    whole = isinstance(positions, list) and all(type(i) is int for i in positions)
    if not whole or not {"id", "target", "training data", "received", "due", "reason"} <= {*body}:
        raise CannotRead(
            f"{folder / REQUEST} does not say any more what was asked",
            hint="it was changed after it was written; bring it back from a backup.",
        )
    return body


def without(folder: Path, positions: set[int]) -> bool:
    """Take these positions of samples out of a run's request; say whether there were any."""
    body = read_request(folder)
    if not positions & {*body["positions"]}:
        return False
    body["positions"] = [i for i in body["positions"] if i not in positions]
    body["target"].pop("indices", None)
    write_json(folder / REQUEST, "request", {k: v for k, v in body.items() if k not in _HEAD})
    return True
