"""``expunge run``: one request, from the data to a sealed verdict."""

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from expunge.cli.announcing import DryRun, announced, tell_cost
from expunge.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    Config,
    Labels,
    Positions,
    Property,
    Seed,
    Settings,
    Strict,
    TierName,
    WithSamples,
)
from expunge.cli.requesting import dated, request_of, target_of
from expunge.cli.settings import parsed
from expunge.cli.showing import emit, progressing, say

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from expunge.auditing import Evidence
    from expunge.cli.project import Project
    from expunge.cli.steps import Depth
    from expunge.judging import Verdict
    from expunge.ledger import Ledger
    from expunge.outcome import Outcome
    from expunge.progress import Progress
    from expunge.request import Request

How = tuple[str, dict[str, str], int]
"""A method's name, its settings as texts, and a seed."""

MethodName = Annotated[
    str,
    Option(
        "--method",
        help="One of `expunge methods`, module:Class, or several with commas, run in order.",
        metavar="NAME",
    ),
]


def run(  # noqa: PLR0913 - one parameter an option
    *,
    method: MethodName,
    classes: Labels = None,
    samples: Positions = None,
    attribute: Property = None,
    settings: Settings = None,
    subject: Annotated[
        str, Option("--subject", help="Whose request it is; only a keyed hash is kept.")
    ] = "",
    reason: Annotated[str, Option("--reason", help="Kept in the ledger, so name nobody.")] = "",
    received: Annotated[
        datetime | None, Option("--received", help="When the request arrived; by default now.")
    ] = None,
    due: Annotated[datetime | None, Option("--due", help="By when it must be done.")] = None,
    name: Annotated[str, Option("--id", help="The request's id, and its folder's name.")] = "",
    seed: Seed = 0,
    tier: TierName = "",
    strict: Strict = False,
    with_samples: WithSamples = False,
    rehearse: Annotated[
        int,
        Option(
            "--rehearse",
            help="Rehearse the whole pipeline with so many canaries, such as 300; it may accuse.",
            metavar="CANARIES",
            min=0,
        ),
    ] = 0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Carry out one request: unlearn, audit against retrained models, judge, and enter it."""
    target = target_of(classes, samples, attribute)
    request = request_of(target, name=name, subject=subject, reason=reason)
    request = dated(request, received, due)
    texts = parsed(settings or [])
    from expunge.cli.entering import enter  # noqa: PLC0415 - torch stays out of --help
    from expunge.cli.project import opened  # noqa: PLC0415
    from expunge.cli.steps import Depth, ending, method_of, why_no_references  # noqa: PLC0415

    with opened(config) as project:
        depth = Depth.of(project, request, tier, with_samples=with_samples).rehearsing(rehearse)
        if dry_run:
            made = method_of(method, texts, project.recipe())
            found = announced(project, request, depth, project.model(), made)
            tell_cost(found, as_json=as_json)
            raise Exit
        with progressing() as progress:
            unlearned = _ready(project, request, (method, texts, seed), progress)
            folder = project.place(project.keys.folders.runs) / request.id
            with _ledger(project, folder, subject) as ledger:
                evidence, verdict = _carried_out(project, request, unlearned, depth, progress)
                seal = enter(ledger, folder, config, (request, evidence, verdict))
        silence = why_no_references(project, request, depth)
    _tell(folder, evidence, verdict, seal, as_json=as_json)
    if silence and not as_json:
        say(silence)
    raise Exit(ending([verdict], strict=strict))


def _ready(
    project: "Project", request: "Request", how: How, progress: "Progress"
) -> "Callable[[], Outcome]":
    """Make all that unlearning needs, so that what is wrong shows before anything is written."""
    from expunge.cli import steps  # noqa: PLC0415 - torch stays out of --help
    from expunge.unlearning import unlearn  # noqa: PLC0415

    name, texts, seed = how
    method = steps.method_of(name, texts, project.recipe(progress))
    parts, model = steps.divided(project, request), project.model()
    return partial(unlearn, model, parts, method, task=project.task, seed=seed, progress=progress)


def _ledger(project: "Project", folder: "Path", subject: str) -> "Ledger":
    """The project's ledger, looked at before long work: writable, whole, its own, and with a key.

    Without a subject no key is needed.
    """
    from expunge.cli.entering import check_first  # noqa: PLC0415 - torch stays out of --help
    from expunge.ledger import Ledger  # noqa: PLC0415

    ledger = Ledger(project.place(project.keys.folders.ledger), project=project.keys.name)
    ledger.begin(subject)
    ledger.verify()
    check_first(folder, project.file, ledger)
    return ledger


def _carried_out(
    project: "Project",
    request: "Request",
    unlearned: "Callable[[], Outcome]",
    depth: "Depth",
    progress: "Progress",
) -> "tuple[Evidence, Verdict]":
    """Unlearn, audit and judge; the run's folder appears when all of it is written."""
    from expunge.cli import runs, steps  # noqa: PLC0415 - torch stays out of --help

    with runs.new_run(project.place(project.keys.folders.runs), request.id) as folder:
        outcome = unlearned()
        references = steps.references_of(project, outcome.split, depth, progress)
        evidence, verdict = steps.judged(project, outcome, references, depth, progress, folder)
        runs.keep(folder, request, outcome, evidence, verdict)
    return evidence, verdict


def _tell(
    folder: "Path", evidence: "Evidence", verdict: "Verdict", seal: str, *, as_json: bool
) -> None:
    from expunge.cli import runs, telling  # noqa: PLC0415 - torch stays out of --help

    files = {"report": folder / runs.REPORT, "model": folder / runs.MODEL}
    if as_json:
        shown = {name: str(path) for name, path in files.items()}
        emit(telling.as_body(evidence, verdict, seal=seal, folder=str(folder), **shown))
        return
    telling.tell(evidence, verdict)
    say()
    for name, path in files.items():
        say(f"{name.capitalize():8} {path}")
    say(f"{'Seal':8} {seal}")
