"""``expunge audit``: judge a pair of models that somebody else made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from expunge.cli.announcing import DryRun, announced, tell_cost
from expunge.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    Config,
    Labels,
    Positions,
    Property,
    Strict,
    TierName,
    WithSamples,
)
from expunge.cli.requesting import request_of, target_of
from expunge.cli.showing import emit, progressing, say

if TYPE_CHECKING:
    from expunge.auditing import Evidence
    from expunge.cli.project import Project
    from expunge.cli.steps import Depth
    from expunge.judging import Verdict
    from expunge.request import Request

_WEIGHTS = "safetensors, or a .pt file of a state dict"


def audit(  # noqa: PLR0913 - one parameter an option
    before: Annotated[Path, Argument(help=f"The original's weights: {_WEIGHTS}.")],
    after: Annotated[Path, Argument(help="The weights after unlearning.")],
    *,
    classes: Labels = None,
    samples: Positions = None,
    attribute: Property = None,
    out: Annotated[
        Path | None,
        Option("--out", help="Write evidence, verdict and report here.", metavar="FOLDER"),
    ] = None,
    tier: TierName = "",
    strict: Strict = False,
    with_samples: WithSamples = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Judge a model that somebody else unlearned, by its weights before and after.

    The project says how to build the model and where the data are.
    """
    request = request_of(target_of(classes, samples, attribute))
    from expunge.cli import telling  # noqa: PLC0415 - torch stays out of --help
    from expunge.cli.project import opened  # noqa: PLC0415
    from expunge.cli.runs import REPORT, check_unsealed  # noqa: PLC0415
    from expunge.cli.steps import Depth, ending, why_no_references  # noqa: PLC0415

    with opened(config) as project:
        depth = Depth.of(project, request, tier, with_samples=with_samples)
        if dry_run:
            tell_cost(announced(project, request, depth, project.model(before)), as_json=as_json)
            raise Exit
        if out is not None:
            check_unsealed(out / REPORT)
        evidence, verdict = _audited(project, request, (before, after), depth)
        silence = why_no_references(project, request, depth)
    report = None if out is None else _kept(out, evidence, verdict)
    if as_json:
        emit(telling.as_body(evidence, verdict, report=report and str(report)))
    else:
        telling.tell(evidence, verdict)
        say(f"\nReport   {report}" if report else "\nWrite a report with --out FOLDER.")
        say(silence) if silence else None
    raise Exit(ending([verdict], strict=strict))


def _audited(
    project: "Project", request: "Request", pair: tuple[Path, Path], depth: "Depth"
) -> "tuple[Evidence, Verdict]":
    from expunge.cli import steps  # noqa: PLC0415 - torch stays out of --help
    from expunge.outcome import Outcome  # noqa: PLC0415

    before, after = (project.model(weights) for weights in pair)
    parts = steps.divided(project, request)
    with progressing() as progress:
        outcome = Outcome.of(before, after, parts, task=project.task)
        references = steps.references_of(project, parts, depth, progress)
        return steps.judged(project, outcome, references, depth, progress)


def _kept(out: Path, evidence: "Evidence", verdict: "Verdict") -> Path:
    from expunge.cli.runs import REPORT, keep_evidence  # noqa: PLC0415 - torch stays out of --help
    from expunge.reporting import render  # noqa: PLC0415

    keep_evidence(out, evidence, verdict)
    render(evidence, verdict).save(out / REPORT)
    return out / REPORT
