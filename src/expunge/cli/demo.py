"""``expunge demo``: the whole story on bundled data, in a minute."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from expunge.cli.options import AsJson, Seed
from expunge.cli.showing import emit, progressing, say
from expunge.request import Attribute, Classes, Request, Samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from expunge import Evidence, Verdict
    from expunge.metric import Metric
    from expunge.problems import Problem
    from expunge.progress import Progress
    from expunge.reporting import Judged

METHODS = ("finetune", "neggrad", "random_labels", "retrain")
FOR_ATTRIBUTES = ("leace", "detach")

_REFERENCES = 5
_LESS: dict[str, dict[str, Any]] = {  # of what an audit of attributes usually asks
    "Leakage": {"families": ("linear", "k-NN")},
    "Reattack": {"labels": (16, 64), "steps": 60},
}


def demo(
    *,
    out: Annotated[
        Path, Option("--out", help="Where the report, the ledger and the evidence go.")
    ] = Path("expunge-demo"),
    attribute: Annotated[
        bool, Option("--attribute", help="Remove the colour of coloured digits instead.")
    ] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train on bundled digits, forget a class and ten samples, audit, and write a report.

    It needs no data and no project, and ends with 0 whatever the verdicts are.
    """
    from expunge.cli.telling import tell_all  # noqa: PLC0415 - torch stays out of --help
    from expunge.pacing import threads  # noqa: PLC0415 - see above
    from expunge.reporting import overview  # noqa: PLC0415 - see above

    with progressing() as progress, threads(1):
        requests = _requests(seed, attribute=attribute)
        found = _tried(requests, out, seed, progress)
    settled = _settled(requests, found, out)
    overview([case for cases in settled for case in cases]).save(out / "report.html")
    kept = _kept(settled, out)
    if as_json:
        emit(kept)
        return
    for cases in settled:
        tell_all(cases, FOR_ATTRIBUTES if attribute else METHODS)
        say()
    say(f"Report   {kept['report']}")
    say(f"Ledger   {kept['ledger']}, sealed {settled[-1][-1][2][:16]}")
    say(f"Evidence {out / 'evidence'}")


def _requests(seed: int, *, attribute: bool) -> tuple[Request, ...]:
    if attribute:
        return (Request(Attribute("colour"), subject="a visitor", id=f"colour-seed-{seed}"),)
    ten = Samples(tuple(range(10)))
    return (
        Request(Classes((3,)), subject="a visitor", id=f"class-seed-{seed}"),
        Request(ten, subject="another visitor", id=f"ten-seed-{seed}"),
    )


def _tried(
    requests: tuple[Request, ...], out: Path, seed: int, progress: "Progress"
) -> "list[list[tuple[Evidence, Verdict]]]":
    """Train the original once, and try every method on every request."""
    from expunge.problems.coloured_digits import coloured_digits  # noqa: PLC0415 - torch stays out
    from expunge.problems.digits import digits  # noqa: PLC0415 - of --help

    problem = coloured_digits() if _about_attributes(requests[0]) else digits()
    progress("train the original", 0, 1)
    model = problem.trained(seed)
    progress("train the original", 1, 1)
    return [_one(problem, model, request, out / "cache", seed, progress) for request in requests]


def _one(
    problem: "Problem",
    model: "nn.Module",
    request: Request,
    cache: Path,
    seed: int,
    progress: "Progress",
) -> "list[tuple[Evidence, Verdict]]":
    from expunge import audit, judge, retrain, split, unlearn  # noqa: PLC0415 - see _tried
    from expunge.catalogue import find  # noqa: PLC0415 - see _tried

    task, seeds = problem.task, range(seed, seed + _REFERENCES)
    parts = split(problem.train, request, test=problem.test, validation=problem.validation)
    references = metrics = None
    if _about_attributes(request):
        metrics = _quick(request, problem.recipe.build)
    else:
        references = retrain(
            parts, problem.recipe, task=task, seeds=seeds, cache=cache, progress=progress
        )
    cases = []
    for name in FOR_ATTRIBUTES if _about_attributes(request) else METHODS:
        plugin = find("methods", name)
        method = plugin(problem.recipe) if name == "retrain" else plugin()
        outcome = unlearn(model, parts, method, task=task, seed=seed, progress=progress)
        evidence = audit(outcome, metrics, references=references, seed=seed, progress=progress)
        cases.append((evidence, judge(evidence)))
    return cases


def _about_attributes(request: Request) -> bool:
    return isinstance(request.target, Attribute)


def _quick(request: Request, build: "Callable[[], nn.Module]") -> "list[Metric]":
    """What is asked about an attribute, with fewer probes and shorter attacks than usual."""
    from expunge.tiers import suite  # noqa: PLC0415 - see _tried

    usual = suite((request.target,), build)
    return [replace(metric, **_LESS.get(type(metric).__name__, {})) for metric in usual]


def _settled(
    requests: tuple[Request, ...], found: "list[list[tuple[Evidence, Verdict]]]", out: Path
) -> "list[list[Judged]]":
    """Enter every case in the ledger; the seal of its entry goes with it."""
    from expunge.ledger import Ledger  # noqa: PLC0415 - see _tried

    out.mkdir(parents=True, exist_ok=True)
    with Ledger(out / "ledger.db", project="expunge demo") as ledger:
        return [
            [(*case, ledger.settle(request, *case)) for case in cases]
            for request, cases in zip(requests, found, strict=True)
        ]


def _kept(settled: "list[list[Judged]]", out: Path) -> dict[str, Any]:
    """Write the evidence of every case, and say where everything is."""
    from expunge.cli.telling import as_body  # noqa: PLC0415 - see _tried
    from expunge.storing import write_text  # noqa: PLC0415 - see _tried

    cases = []
    for evidence, verdict, seal in (case for request in settled for case in request):
        seen = evidence.provenance
        path = out / "evidence" / f"{seen.kind}-{seen.method.lower()}.json"
        write_text(path, evidence.to_json())
        body = as_body(evidence, verdict, method=seen.method, targets=list(seen.targets))
        cases.append({**body, "seal": seal, "file": str(path)})
    return {"cases": cases, "report": str(out / "report.html"), "ledger": str(out / "ledger.db")}
