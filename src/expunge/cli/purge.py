"""``expunge purge``: remove what caches and runs still hold of forgotten samples."""

from pathlib import Path
from typing import Annotated

from typer import Argument

from expunge.cli.options import DEFAULT_CONFIG, AsJson, Config
from expunge.cli.requesting import check_id
from expunge.cli.showing import emit, say


def purge(
    name: Annotated[str, Argument(help="The id of a request.", metavar="REQUEST")],
    *,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Remove what caches and the run still hold of the forgotten samples; evidence stays."""
    check_id(name)
    from expunge.cli.keys import read  # noqa: PLC0415 - torch stays out of --help
    from expunge.cli.purging import purged_request  # noqa: PLC0415

    folders = read(config).folders
    runs, cache = config.parent / folders.runs, config.parent / folders.cache
    removed, rewritten = purged_request(runs, runs / name, cache)
    if as_json:
        emit({"request": name, "removed": _paths(removed), "rewritten": _paths(rewritten)})
        return
    for path in removed:
        say(f"removed    {path}")
    for path in rewritten:
        say(f"rewritten  {path} (it lists them no more)")
    if not removed and not rewritten:
        say(f"Nothing was left of request {name} in caches and runs.")
    say(
        "The report, the evidence and the ledger stay: they name no sample, and show one only where"
    )
    say("--with-samples was asked for. So do models of other requests, which knew these samples.")
    say("Still to do by hand: the original weights, older checkpoints, backups, the data.")


def _paths(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]
