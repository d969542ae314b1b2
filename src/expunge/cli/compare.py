"""``expunge compare``: several methods on one request, in one table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

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
from expunge.cli.requesting import request_of, target_of
from expunge.cli.settings import parsed
from expunge.cli.showing import emit, progressing, say

if TYPE_CHECKING:
    from expunge.cli.project import Project
    from expunge.cli.steps import Depth
    from expunge.reporting import Judged
    from expunge.request import Request


def compare(  # noqa: PLR0913 - one parameter an option
    *,
    method: Annotated[
        list[str],
        Option("--method", help="A method; name two or more.", metavar="NAME"),
    ],
    classes: Labels = None,
    samples: Positions = None,
    attribute: Property = None,
    settings: Settings = None,
    out: Annotated[
        Path | None, Option("--out", help="Write one page about all of them.", metavar="FILE")
    ] = None,
    seed: Seed = 0,
    tier: TierName = "",
    strict: Strict = False,
    with_samples: WithSamples = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Try several methods on one request, side by side; nothing is entered in the ledger.

    A setting goes to every method, or to one: --set finetune.epochs=3.
    """
    request = request_of(target_of(classes, samples, attribute))
    texts = parsed(settings or [])
    names = list(dict.fromkeys(method))
    from expunge.cli import telling  # noqa: PLC0415 - torch stays out of --help
    from expunge.cli.project import opened  # noqa: PLC0415
    from expunge.cli.runs import check_unsealed  # noqa: PLC0415
    from expunge.cli.steps import Depth, ending, settings_for, why_no_references  # noqa: PLC0415

    if out is not None:
        check_unsealed(out)
    plan = {name: settings_for(name, texts, names) for name in names}
    with opened(config) as project:
        depth = Depth.of(project, request, tier, with_samples=with_samples)
        cases = _tried(project, request, plan, depth, seed)
        silence = why_no_references(project, request, depth)
    if out is not None:
        from expunge.reporting import overview  # noqa: PLC0415 - torch stays out of --help

        overview(cases).save(out)
    if as_json:
        bodies = {
            name: telling.as_body(evidence, verdict)
            for name, (evidence, verdict, _) in zip(names, cases, strict=True)
        }
        emit({"methods": bodies, "page": out and str(out)})
    else:
        telling.tell_all(cases, names)
        say(f"Page     {out}" if out else "Write a page about all of them with --out FILE.html.")
        say(silence) if silence else None
    raise Exit(ending([verdict for _, verdict, _ in cases], strict=strict))


def _tried(
    project: "Project",
    request: "Request",
    plan: dict[str, dict[str, str]],
    depth: "Depth",
    seed: int,
) -> "list[Judged]":
    """All methods first: a fault in one of them shows before anything is retrained."""
    from expunge.cli import steps  # noqa: PLC0415 - torch stays out of --help
    from expunge.unlearning import unlearn  # noqa: PLC0415

    with progressing() as progress:
        recipe = project.recipe(progress)
        methods = [steps.method_of(name, texts, recipe) for name, texts in plan.items()]
        parts, model = steps.divided(project, request), project.model()
        outcomes = [
            unlearn(model, parts, method, task=project.task, seed=seed, progress=progress)
            for method in methods
        ]
        references = steps.references_of(project, parts, depth, progress)
        return [
            (*steps.judged(project, outcome, references, depth, progress), "")
            for outcome in outcomes
        ]
