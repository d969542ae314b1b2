"""``expunge purge``: remove what caches and runs still hold of forgotten samples."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument

from expunge.cli.options import DEFAULT_CONFIG, AsJson, Config, Labels, Positions
from expunge.cli.requesting import check_id, request_of, target_of
from expunge.cli.showing import emit, say
from expunge.errors import MissingInput

if TYPE_CHECKING:
    from expunge.cli.purging import Purged
    from expunge.request import Request


def purge(
    name: Annotated[str, Argument(help="The id of a request.", metavar="[REQUEST]")] = "",
    *,
    classes: Labels = None,
    samples: Positions = None,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Remove what caches and runs still hold of the forgotten samples; evidence stays.

    Name a request; or name samples, where no run tells of them: `compare`, `audit` and a run that
    was killed fill the cache too.
    """
    if bool(name) == bool(classes or samples):
        raise MissingInput(
            "what must be purged? name a request or samples, and not both",
            hint="give the id of a request, or one of --classes 7, --samples 3,14 (or @FILE).",
        )
    if name:
        check_id(name)
        found = _of_request(name, config)
    else:
        found = _of_samples(request_of(target_of(classes, samples, None)), config)
    if as_json:
        asked = {"request": name} if name else {}
        emit(asked | {"removed": _paths(found.removed), "rewritten": _paths(found.rewritten)})
        return
    _tell(found, f"request {name}" if name else "these samples")


def _of_request(name: str, config: Path) -> "Purged":
    from expunge.cli.keys import read  # noqa: PLC0415 - torch stays out of --help
    from expunge.cli.purging import purged_request  # noqa: PLC0415

    folders = read(config).folders
    runs, cache = config.parent / folders.runs, config.parent / folders.cache
    return purged_request(runs, runs / name, cache)


def _of_samples(request: "Request", config: Path) -> "Purged":
    from expunge.cli.project import opened  # noqa: PLC0415 - torch stays out of --help
    from expunge.cli.purging import purged_samples  # noqa: PLC0415
    from expunge.cli.steps import divided  # noqa: PLC0415

    with opened(config) as project:
        positions = {*divided(project, request).forget.indices.tolist()}
        folders = project.keys.folders
        runs, cache = project.place(folders.runs), project.place(folders.cache)
        return purged_samples(runs, positions, project.train_digest, cache)


def _tell(found: "Purged", whose: str) -> None:
    for path in found.removed:
        say(f"removed    {path}")
    for path in found.rewritten:
        say(f"rewritten  {path} (it lists them no more)")
    if not found.removed and not found.rewritten:
        say(f"Nothing was left of {whose} in caches and runs.")
    say(
        "The report, the evidence and the ledger stay: they name no sample, and show one only where"
    )
    say("--with-samples was asked for. So do models of other requests, which knew these samples.")
    say("Still to do by hand: the original weights, older checkpoints, backups, the data.")


def _paths(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]
