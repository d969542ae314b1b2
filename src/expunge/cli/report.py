"""``expunge report``: write a report again, from the evidence that a run left."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from expunge.cli.options import DEFAULT_CONFIG, AsJson, Config
from expunge.cli.showing import emit, say
from expunge.errors import LedgerTampered

if TYPE_CHECKING:
    from expunge.auditing import Evidence
    from expunge.ledger import Entry


def report(
    source: Annotated[
        Path, Argument(help="The folder of a run, or its evidence.json.", metavar="RUN")
    ],
    *,
    out: Annotated[
        Path | None, Option("--out", help="By default beside the evidence.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Write a report again from its evidence, judged by the rules of this version."""
    from expunge.cli.runs import REPORT, read_evidence  # noqa: PLC0415 - torch stays out of --help
    from expunge.judging import judge  # noqa: PLC0415
    from expunge.reporting import render  # noqa: PLC0415

    evidence = read_evidence(source)
    entry = _entry_about(evidence, source, config)
    verdict, seal = judge(evidence), entry.digest if entry else ""
    if entry and entry.body["verdict"]["word"] != verdict.word:
        raise LedgerTampered(
            f"the ledger says {entry.body['verdict']['word']} about this evidence, and the rules "
            f"of this version say {verdict.word}",
            hint="write the report with the version of expunge that settled the request.",
        )
    path = out or (source if source.is_dir() else source.parent) / REPORT
    _check_place(source, path, entry)
    render(evidence, verdict, seal=seal).save(path)
    if as_json:
        emit({"report": str(path), "verdict": verdict.word, "seal": seal})
        return
    say(f"Report   {path}")
    say(f"Verdict  {verdict.word}")
    say(f"Seal     {seal or 'none: the ledger has no entry about exactly this evidence'}")


def _check_place(source: Path, path: Path, entry: "Entry | None") -> None:
    """Refuse to lose a seal, or to seal a page beside files that are others by now."""
    from expunge.cli.confirming import confirm  # noqa: PLC0415 - torch stays out of --help
    from expunge.cli.runs import REQUEST, check_unsealed  # noqa: PLC0415

    folder = source if source.is_dir() else source.parent
    if not entry:
        check_unsealed(path)
    elif source.is_dir() or (folder / REQUEST).exists():  # a copy of evidence may lie anywhere
        confirm({folder: [entry]})


def _entry_about(evidence: "Evidence", source: Path, config: Path) -> "Entry | None":
    """The entry about exactly this evidence, where the project's ledger knows its requests."""
    if not config.exists():
        return None
    from expunge.cli.entering import about, entries  # noqa: PLC0415 - torch stays out of --help
    from expunge.cli.keys import read  # noqa: PLC0415

    known = about(entries(config, read(config)), *evidence.request_ids)
    found = [entry for entry in known if entry.body["evidence"] == evidence.digest]
    if known and not found:
        raise LedgerTampered(
            f"the ledger settled request {known[-1].body['request']} by other evidence than "
            f"that of {source}",
            hint="it was changed afterwards: bring it back from a backup; what is to be judged "
            "anew is a new request.",
        )
    return found[-1] if found else None
