"""``expunge purge``: remove what caches and runs still hold of forgotten samples."""

import shutil
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

    folders = read(config).folders
    runs, cache = config.parent / folders.runs, config.parent / folders.cache
    removed, rewritten = _purged(runs, runs / name, cache)
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


def _purged(runs: Path, folder: Path, cache: Path) -> tuple[list[Path], list[Path]]:
    """What was removed from the cache, and which requests were rewritten: any that lists them."""
    import torch  # noqa: PLC0415 - torch stays out of --help

    from expunge.cli.runs import REHEARSAL, REQUEST, abandoned, read_request, without  # noqa: PLC0415
    from expunge.scoring import SCORES  # noqa: PLC0415
    from expunge.shelving import purge  # noqa: PLC0415
    from expunge.storing import forget_file  # noqa: PLC0415

    for left in {*abandoned(runs), *runs.glob(f".{folder.name}.*.partial")}:
        shutil.rmtree(left, ignore_errors=True)
    asked = read_request(folder)
    positions, train = asked["positions"], asked["training data"]
    if not positions:
        return [], []
    removed = purge(torch.tensor(positions), train, cache)
    alike = [
        path
        for path in sorted(runs.glob(f"*/{REQUEST}"))
        if read_request(path.parent)["training data"] == train
    ]
    listed = [path for path in alike if without(path.parent, {*positions})]
    said = [path.with_name(SCORES) for path in listed]
    said += [path.with_name(REHEARSAL) for path in alike]  # canaries may be anybody
    return removed + [path for path in said if forget_file(path)], listed


def _paths(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]
