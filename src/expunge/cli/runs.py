"""The folder that a request leaves: what was asked, the model, the evidence, verdict, report."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from torch import Tensor

from expunge.auditing import Evidence
from expunge.errors import CannotRead, CannotWrite
from expunge.judging import Verdict
from expunge.outcome import Outcome
from expunge.reheading import withheld
from expunge.reporting.page import seal_in
from expunge.request import Request, Samples, describe
from expunge.storing import (
    digest_tensors,
    load_tensors,
    read_json,
    save_tensors,
    write_json,
    write_text,
)

REQUEST, MODEL, EVIDENCE, VERDICT, REPORT, REHEARSAL, MEMBERS = (
    "request.json",
    "model.safetensors",
    "evidence.json",
    "verdict.json",
    "report.html",
    "rehearsal.json",
    "members.safetensors",
)

_MAKER = re.compile(r"\.(\d+)-[^.]*\.partial$")  # the process, in the name of a folder

_DATES = ("received", "due")
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
        "subject named": bool(request.subject),  # so that it is not entered without
        **_how(evidence),
    }
    write_json(folder / REQUEST, "request", asked)
    outcome.save(folder / MODEL)
    if known := withheld(outcome.after):
        weights = digest_tensors(outcome.after.state_dict())
        save_tensors(folder / MEMBERS, known, {"holds": "who is in the model", "weights": weights})
    keep_evidence(folder, evidence, verdict)


def members_beside(path: Path, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Who is in the model of this file, as its run kept it; nothing where nobody knows."""
    beside = path.with_name(MEMBERS)
    if not beside.is_file():
        return {}
    known, meta = load_tensors(beside)
    return known if meta.get("weights") == digest_tensors(weights) else {}


def keep_evidence(folder: Path, evidence: Evidence, verdict: Verdict) -> None:
    """Write what was found, as the ledger's digest of it will be checked: byte for byte."""
    write_text(folder / EVIDENCE, evidence.to_json())
    write_json(folder / VERDICT, "verdict", _concluded(evidence, verdict))


def _how(evidence: Evidence) -> dict[str, Any]:
    """What of a request its evidence knows as well."""
    seen = evidence.provenance
    known = {"method": seen.method, "settings": seen.settings, "seed": seen.seed}
    return {"training data": seen.digests.get("training data", ""), **known}


def _concluded(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    """A verdict, and the digest of what it was drawn from."""
    return {**asdict(verdict), "reasons": [*verdict.reasons], "evidence": evidence.digest}


def check_unsealed(path: Path) -> None:
    """Refuse to write a page without a seal over one that has one."""
    if seal := seal_in(path):
        raise CannotWrite(
            f"{path} is a sealed report ({seal[:8]}), and what was to be written over it is in no "
            f"ledger",
            hint="write elsewhere: --out names the place. Where the ledger is gone, or is "
            "another's, bring back the one that holds this seal.",
        )


def is_whole(folder: Path) -> bool:
    """Whether a run left all that can be entered in a ledger."""
    return all((folder / name).is_file() for name in (REQUEST, MODEL, EVIDENCE, VERDICT))


def contradicting(
    folder: Path,
    evidence: Evidence,
    verdict: Verdict,
    names: Sequence[str] = (REQUEST, MODEL, VERDICT),
) -> Iterator[str]:
    """Those of a run's files that say anything else than its evidence does."""
    said = {
        REQUEST: lambda: _asks(folder, evidence),
        MODEL: lambda: digest_of(folder) == evidence.provenance.digests.get("unlearned"),
        VERDICT: lambda: _concludes(folder, evidence, verdict),
    }
    yield from (name for name in names if not said[name]())


def _asks(folder: Path, evidence: Evidence) -> bool:
    """Whether a run's request asks for what its evidence is about."""
    asked, seen = read_request(folder), evidence.provenance
    wanted, named = [_without_samples(asked["target"])], map(_without_samples, seen.targets)
    return {**asked, **_how(evidence)} == asked and wanted == [*named]


def digest_of(folder: Path) -> str:
    """The digest of a run's model."""
    weights, _ = load_tensors(folder / MODEL)
    return digest_tensors(weights)


def _concludes(folder: Path, evidence: Evidence, verdict: Verdict) -> bool:
    """Whether a run's verdict is this one, drawn from this evidence."""
    return _body(read_json(folder / VERDICT, "verdict")) == _concluded(evidence, verdict)


def _without_samples(target: Mapping[str, Any]) -> dict[str, Any]:
    """A target as far as all files tell it: none but the request's lists samples."""
    return {key: value for key, value in target.items() if key not in ("indices", "count")}


def _body(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in _HEAD}


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
    try:
        received, due = (body[key] and datetime.fromisoformat(body[key]) for key in _DATES)
    except (TypeError, ValueError) as why:
        raise _changed(folder) from why
    return Request(
        Samples(()),
        subject=subject,
        id=body["id"],
        received=received,
        due=due,
        reason=body["reason"],
    )


def names_subject(folder: Path) -> bool:
    """Whether a run's request was somebody's; who it is stands in no file."""
    return bool(read_request(folder).get("subject named"))


def read_request(folder: Path) -> dict[str, Any]:
    """What a run folder says was asked."""
    body = read_json(folder / REQUEST, "request")
    positions, target = body.get("positions"), body.get("target")
    whole = isinstance(positions, list) and all(type(i) is int for i in positions)
    known = {"id", "training data", "reason", *_DATES} <= {*body}
    if not (whole and known and isinstance(target, dict)):
        raise _changed(folder)
    return body


def _changed(folder: Path) -> CannotRead:
    return CannotRead(
        f"{folder / REQUEST} does not say any more what was asked",
        hint="it was changed after it was written; bring it back from a backup.",
    )


def without(folder: Path, positions: set[int]) -> bool:
    """Take these positions of samples out of a run's request; say whether there were any."""
    body = read_request(folder)
    if not positions & {*body["positions"]}:
        return False
    body["positions"] = [i for i in body["positions"] if i not in positions]
    body["target"].pop("indices", None)
    write_json(folder / REQUEST, "request", _body(body))
    return True
