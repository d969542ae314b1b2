"""A run's folder and its entry in the ledger: whether they agree, and which command is to do."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from expunge.cli import runs
from expunge.cli.keys import Keys
from expunge.cli.options import DEFAULT_CONFIG
from expunge.errors import CannotWrite, ExpungeError, LedgerTampered, MissingInput
from expunge.evidence import Evidence
from expunge.judging import Verdict, judge
from expunge.ledger import Entry, Ledger
from expunge.reporting import render
from expunge.request import Request

Case = tuple[Request, Evidence, Verdict]
"""What a run has to enter."""


def entries(config: Path, keys: Keys) -> list[Entry]:
    """All that the project's ledger holds; nothing where none was begun."""
    with Ledger(config.parent / keys.folders.ledger, project=keys.name) as ledger:
        return list(ledger) if ledger.is_begun() else []


def about(found: Iterable[Entry], *requests: str) -> list[Entry]:
    """The entries that settle one of these requests."""
    return [e for e in found if e.kind == "settled" and e.body["request"] in requests]


def unentered(config: Path, keys: Keys, known: Sequence[Entry]) -> dict[Path, str]:
    """The runs that none of these entries is about, each with the command that enters it."""
    places = sorted((config.parent / keys.folders.runs).glob("*"))
    waiting = (p for p in places if runs.is_whole(p) and not about(known, p.name))
    return {folder: to_settle(folder, config) for folder in waiting}


def to_report(folder: Path, config: Path) -> str:
    """The command that writes the report of a run that was entered."""
    return _command("report", config, str(folder))


def to_settle(folder: Path, config: Path) -> str:
    """The command that enters a run; whose request it was is in no file, and is said again."""
    named = runs.names_subject(folder)
    more = ["--subject", "NAME"] if named else []
    return _command("ledger settle", config, str(folder), *more)


def to_purge(positions: Iterable[int], config: Path) -> str:
    """The command that removes what is held of these samples."""
    return _command("purge", config, "--samples", ",".join(map(str, positions)))


def _command(name: str, config: Path, *words: str) -> str:
    where = [] if config == DEFAULT_CONFIG else ["--config", str(config)]
    return f"`expunge {name} {shlex.join([*words, *where])}`"


def enter(ledger: Ledger, folder: Path, config: Path, case: Case) -> str:
    """Enter a run and write its report; return the seal. The folder stays, whatever happens."""
    request, evidence, verdict = case
    with _advising(folder, to_settle(folder, config)):
        seal = ledger.settle(request, evidence, verdict)
    with _advising(folder, to_report(folder, config)):
        render(evidence, verdict, seal=seal).save(folder / runs.REPORT)
    return seal


@contextmanager
def _advising(folder: Path, command: str) -> Iterator[None]:
    """Say, beside a fault, what is kept of a run, and which command does the rest."""
    try:
        yield
    except ExpungeError as why:
        why.add_note(
            f"The model, the evidence and the verdict are kept in {folder}; when the cause is "
            f"mended, {command} does the rest."
        )
        raise


def check_first(folder: Path, config: Path, ledger: Ledger) -> None:
    """Refuse a request that was carried out, and say what is left to do where one was killed."""
    if not runs.is_whole(folder):
        return
    report, settle = to_report(folder, config), to_settle(folder, config)
    raise CannotWrite(
        f"{folder} exists already: a request is carried out once",
        hint=f"{report} writes its report again; another request has another --id, or none."
        if about(ledger, folder.name)
        else f"it was never entered in the ledger: {settle} enters it.",
    )


def again(folder: Path, config: Path, subject: str) -> Case:
    """What a run left, as it was written: nothing that was changed since is entered."""
    request, evidence = runs.request_again(folder, subject), runs.read_evidence(folder)
    if runs.names_subject(folder) and not subject:
        raise MissingInput(
            f"request {request.id} has a subject, whose name is in no file",
            hint=f"say it again: {to_settle(folder, config)}.",
        )
    verdict = judge(evidence)
    odd = [*runs.contradicting(folder, evidence, verdict)]
    if odd:
        raise LedgerTampered(
            f"in {folder}, {' and '.join(odd)} and {runs.EVIDENCE} contradict each other",
            hint="one of them was changed after the run: bring it back from a backup; or, if "
            "expunge was updated since, enter the run with the version that made it.",
        )
    return request, evidence, verdict
