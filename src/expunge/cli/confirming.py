"""What lies in the folders of entered runs, held beside what the ledger holds of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from expunge.cli import runs
from expunge.cli.entering import about
from expunge.cli.keys import Keys
from expunge.errors import CannotRead, LedgerTampered
from expunge.evidence import Evidence
from expunge.judging import Verdict
from expunge.ledger import Entry


def entered(config: Path, keys: Keys, known: Sequence[Entry]) -> dict[Path, list[Entry]]:
    """The folders of runs that these entries are about, each with its entries."""
    places = sorted((config.parent / keys.folders.runs).glob("*"))
    found = {place: about(known, place.name) for place in places if place.is_dir()}
    return {place: entries for place, entries in found.items() if entries}


def confirm(places: Mapping[Path, Sequence[Entry]], vouched: str = "") -> None:
    """Refuse files that contradict the ledger; ``vouched`` is what holds nevertheless."""
    odd = {folder: [*_contradicting(folder, found)] for folder, found in places.items()}
    faults = [_told(folder, names) for folder, names in odd.items() if names]
    if faults:
        whole = f"{vouched}; but " if vouched else ""
        raise LedgerTampered(
            f"{whole}{'; '.join(faults)}",
            hint="it was changed after it was entered: bring it back from a backup, and trust "
            "nothing that was made from it.",
        )


def _told(folder: Path, names: Sequence[str]) -> str:
    verb = "contradicts" if len(names) == 1 else "contradict"
    return f"in {folder}, {' and '.join(names)} {verb} the ledger's entry about this run"


def _contradicting(folder: Path, found: Sequence[Entry]) -> Iterator[str]:
    """The files of a run that say anything else than its entry; one that is gone says nothing."""
    evidence = _evidence(folder)
    sealed = [e for e in found if evidence and e.body["evidence"] == evidence.digest]
    there = [name for name in (runs.REQUEST, runs.MODEL, runs.VERDICT) if (folder / name).exists()]
    if evidence and sealed:
        yield from runs.contradicting(folder, evidence, _verdict(sealed[-1]), there)
        return
    if (folder / runs.EVIDENCE).exists():
        yield runs.EVIDENCE
    if runs.MODEL in there and runs.digest_of(folder) not in {e.body["unlearned"] for e in found}:
        yield runs.MODEL


def _evidence(folder: Path) -> Evidence | None:
    """The evidence of a run; None where there is none, or it can be read no more."""
    with suppress(CannotRead):
        return runs.read_evidence(folder)
    return None


def _verdict(entry: Entry) -> Verdict:
    """What was concluded then: the rules of this version may be others."""
    said = entry.body["verdict"]
    return Verdict(said["word"], said["degraded"], tuple(said["reasons"]), said["tier"])
