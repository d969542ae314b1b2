"""``expunge ledger``: show the entries, and verify that none was changed or cut off."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, Typer

from expunge.cli.options import DEFAULT_CONFIG, AsJson, Config
from expunge.cli.showing import emit, say, table
from expunge.errors import CannotWrite

if TYPE_CHECKING:
    from expunge.ledger import Entry, Ledger

ledger = Typer(no_args_is_help=True, help="Show the record of all requests, or verify it.")

LedgerPath = Annotated[
    Path | None, Argument(help="By default the project's ledger.", metavar="PATH")
]


@ledger.command()
def show(
    path: LedgerPath = None, *, as_json: AsJson = False, config: Config = DEFAULT_CONFIG
) -> None:
    """List every entry, from the first to the last; the chain is checked on the way."""
    with _opened(path, config) as book:
        entries = list(book)
    if as_json:
        emit([_as_body(entry) for entry in entries])
        return
    columns = ["#", "when", "request", "forgotten", "method", "verdict", "seal"]
    table(columns, [_row(entry) for entry in entries])


@ledger.command()
def verify(
    path: LedgerPath = None,
    *,
    seal: Annotated[
        str, Option("--seal", help="A seal from a report, or its first 8 digits at least.")
    ] = "",
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Check every entry, that the entry of a report's seal is there, and the runs' files."""
    with _opened(path, config) as book:
        head, entries = book.verify(seal), list(book)
    whole = f"{book.path}: {len(entries)} entries, each as it was written"
    runs = _confirmed(config, entries, whole) if path is None else []
    sealed = [entry for entry in entries if seal and entry.digest.startswith(seal.strip().lower())]
    if as_json:
        body = {"ledger": str(book.path), "entries": len(entries), "seal": head, "checked": seal}
        body["runs"] = runs
        emit({**body, "entry": _as_body(sealed[0]) if sealed else None})
        return
    say(f"{whole}. Seal of the last: {head}")
    if runs:
        say(f"The files of {len(runs)} runs agree with it: {', '.join(runs)}")
    for entry in sealed:
        say(f"It holds the entry sealed {seal}:")
        _tell(entry)
    if not sealed:
        say("A cut tail shows only beside a seal: compare with one from a report, by --seal.")


@ledger.command()
def settle(
    run: Annotated[Path, Argument(help="The folder of a run.", metavar="RUN")],
    *,
    subject: Annotated[
        str, Option("--subject", help="Whose request it is; only a keyed hash is kept.")
    ] = "",
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Enter a run that could not be entered when it was made, say because the disk was full.

    What was changed since the run is refused.
    """
    from expunge.cli.entering import about, again, enter, to_report  # noqa: PLC0415 - see _opened
    from expunge.cli.runs import read_request  # noqa: PLC0415

    name = read_request(run)["id"]
    with _opened(None, config) as book:
        book.begin(subject)
        # Another evidence about a settled request is no second chance: it may have been edited.
        if about(book, name):
            raise CannotWrite(
                f"the ledger has an entry about request {name} already",
                hint=f"{to_report(run, config)} writes its report again; "
                "what is to be judged anew is a new request.",
            )
        case = again(run, config, subject)
        seal, word = enter(book, run, config, case), case[-1].word
    if as_json:
        emit({"request": name, "verdict": word, "seal": seal})
        return
    say(f"Request {name} is entered as {word}. Seal: {seal}")


def _opened(path: Path | None, config: Path) -> "Ledger":
    from expunge.ledger import Ledger  # noqa: PLC0415 - torch stays out of --help

    if path is not None:
        return Ledger(path)
    from expunge.cli.keys import read  # noqa: PLC0415 - torch stays out of --help

    keys = read(config)
    return Ledger(config.parent / keys.folders.ledger, project=keys.name)


def _confirmed(config: Path, entries: "list[Entry]", whole: str) -> list[str]:
    """The project's runs whose files are as they were entered; any that are not are refused."""
    from expunge.cli.confirming import confirm, entered  # noqa: PLC0415 - see _opened
    from expunge.cli.keys import read  # noqa: PLC0415

    places = entered(config, read(config), entries)
    confirm(places, whole)
    return [folder.name for folder in places]


def _tell(entry: "Entry") -> None:
    """What the entry says, so that a page beside a foreign seal is found out."""
    _, when, request, gone, method, word, _ = _row(entry)
    say(f"  request {request}: {gone}, {method}, {word}, {when} UTC")
    if "evidence" in entry.body:
        say(f"  digest of its evidence: {entry.body['evidence']}")
    say("Compare both with the report that shows this seal.")


def _as_body(entry: "Entry") -> dict[str, Any]:
    return {
        "position": entry.position,
        "kind": entry.kind,
        "body": entry.body,
        "seal": entry.digest,
    }


def _row(entry: "Entry") -> list[str]:
    body = entry.body
    when = str(body.get("settled") or body.get("opened") or "")[:16].replace("T", " ")
    if entry.kind != "settled":
        return [str(entry.position), when, entry.kind, "", "", "", entry.digest[:8]]
    verdict = body["verdict"]
    word = verdict["word"] + (", degraded" if verdict["degraded"] else "")
    gone = f"{body['kind']} ({body['counts']['forget']} samples)"
    return [
        str(entry.position),
        when,
        body["request"],
        gone,
        body["method"],
        word,
        entry.digest[:8],
    ]
