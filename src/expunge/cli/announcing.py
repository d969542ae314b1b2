"""What a command would cost, before it does anything: ``--dry-run``."""

from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from expunge.cli.showing import emit, progressing, say, table

if TYPE_CHECKING:
    from torch import nn

    from expunge.cli.project import Project
    from expunge.cli.steps import Depth
    from expunge.estimating import Estimate, Item
    from expunge.method import Method
    from expunge.request import Request

DryRun = Annotated[
    bool,
    Option("--dry-run", help="Say what it would cost, in minutes and models, and do nothing."),
]


def announced(
    project: "Project",
    request: "Request",
    depth: "Depth",
    model: "nn.Module",
    method: "Method | None" = None,
) -> "Estimate":
    """Try a little of everything, and write nothing."""
    from expunge.cli import steps  # noqa: PLC0415 - torch stays out of --help
    from expunge.estimating import Work, estimate  # noqa: PLC0415

    cache = project.place(project.keys.folders.cache)
    with progressing() as progress:
        work = Work(
            model,
            steps.divided(project, request),
            project.task,
            project.recipe(),
            method,
            depth.metrics,
            depth.seeds,
            cache,
            depth.canaries,
        )
        return estimate(work, depth.tier, progress=progress)


def tell_cost(found: "Estimate", *, as_json: bool) -> None:
    """Print an estimate as a table, or as JSON."""
    from expunge.reporting.numbers import duration  # noqa: PLC0415 - see announced

    if as_json:
        emit(_body(found))
        return
    rows = [[*_told(item), item.why] for item in found.items]
    kept = sum(item.kept for item in found.items)
    total = ["together", str(found.models), str(kept), f"about {duration(found.seconds)}", ""]
    title = f"What tier {found.tier} will cost on this machine"
    table(["", "to train", "in cache", "time", "what for"], [*rows, total], title=title)
    if any(item.seconds is None for item in found.items):
        say("It takes longer than that: not everything could be tried on few samples.")
    say("Nothing was written. Leave --dry-run out to do it.")


def _told(item: "Item") -> list[str]:
    from expunge.reporting.numbers import duration  # noqa: PLC0415 - see announced

    time = "not known" if item.seconds is None else duration(item.seconds)
    return [item.what, str(item.models - item.kept), str(item.kept), time]


def _body(found: "Estimate") -> dict[str, Any]:
    items = [
        {
            "what": item.what,
            "to_train": item.models - item.kept,
            "in_cache": item.kept,
            "seconds": item.seconds,
            "why": item.why,
        }
        for item in found.items
    ]
    minutes = found.seconds / 60
    return {"tier": found.tier, "minutes": minutes, "to_train": found.models, "items": items}
