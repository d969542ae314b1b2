"""The steps that several commands take: split, unlearn, retrain, audit, judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from expunge.auditing import Evidence, Tier, audit
from expunge.batching import Batches
from expunge.catalogue import find, settings
from expunge.cli.project import Project
from expunge.cli.runs import REHEARSAL
from expunge.cli.settings import build
from expunge.ensembles import References
from expunge.errors import BadSetting, MissingInput, UnknownName
from expunge.judging import Verdict, judge
from expunge.method import Method
from expunge.metric import Metric
from expunge.observing import BATCH
from expunge.outcome import Outcome
from expunge.progress import Progress
from expunge.recipe import Recipe
from expunge.rehearsing import CANARIES, FEWEST, Rehearsal, rehearse
from expunge.request import Attribute, Classes, Request
from expunge.retraining import retrain
from expunge.scoring import SCORES
from expunge.splitting import Data, Labels, Part, Split, split
from expunge.tasks import Task
from expunge.tiers import REFERENCES, suite


@dataclass(frozen=True, slots=True)
class Depth:
    """How much evidence is wanted: a tier, how many references or which seeds, which metrics."""

    tier: Tier
    seeds: int | tuple[int, ...]
    metrics: tuple[Metric, ...]
    canaries: int = 0  # of a rehearsal; 0: there is none

    @classmethod
    def of(
        cls, project: Project, request: Request, tier: str, *, with_samples: bool = False
    ) -> "Depth":
        """What the command line asks for; where it is silent, what the project says."""
        keys = project.keys.audit
        tiers: tuple[Tier, ...] = get_args(Tier)
        if tier and tier not in tiers:
            raise UnknownName("tier", tier, tiers)
        chosen = next((known for known in tiers if known == tier), keys.tier)
        if isinstance(keys.seeds, bool) or (isinstance(keys.seeds, int) and keys.seeds < 0):
            raise BadSetting(
                f"[audit] seeds is {keys.seeds}, which is no number of models",
                hint="write how many models are retrained, such as 5, or their seeds: [0, 1, 2].",
            )
        metrics = _metrics(project, request, chosen, with_samples=with_samples)
        if tier or keys.seeds is None:
            return cls(chosen, REFERENCES[chosen], metrics)
        return cls(chosen, 0 if chosen == "smoke" else keys.seeds, metrics)

    def rehearsing(self, canaries: int) -> "Depth":
        """The same with a rehearsal of so many canaries; 0 is none."""
        if 0 < canaries < FEWEST:
            raise BadSetting(
                f"--rehearse {canaries} sets too few canaries aside: guesses about so few, were "
                f"all of them right, accuse nobody",
                hint=f"set {FEWEST} aside at least; {CANARIES} are usual.",
            )
        return replace(self, canaries=canaries)


def _metrics(
    project: Project, request: Request, tier: Tier, *, with_samples: bool
) -> tuple[Metric, ...]:
    """What the project measures; where samples may be shown, whoever can show them does."""
    chosen = project.metrics()
    found = suite((request.target,), project.fresh, tier) if chosen is None else tuple(chosen)
    if not with_samples:
        return found
    asked = [(metric, _shows(metric)) for metric in found]
    if not any(shows for _, shows in asked):
        raise BadSetting(
            "--with-samples was given, but no metric of this audit can show samples",
            hint='add "attribution" to [audit] metrics in expunge.toml.',
        )
    change: dict[str, Any] = {"with_samples": True}
    return tuple(replace(m, **change) if shows else m for m, shows in asked)


def _shows(metric: Metric) -> bool:
    return any(item.name == "with_samples" for item in fields(metric))


def divided(project: Project, request: Request) -> Split:
    """The project's data, by what must go."""
    labels: Labels = None
    if isinstance(request.target, Classes):  # as the task reads them: `.targets` may say otherwise
        labels = labels_of(project.train, project.task)
    return split(
        project.train,
        request,
        test=project.test,
        validation=project.validation,
        labels=labels,
    )


def labels_of(data: Data, task: Task) -> Tensor:
    """Every label, as the task reads it: batches may be of any shape."""
    return torch.cat([task.labels(batch) for batch in Batches(Part.whole(data), BATCH)])


def method_of(name: str, texts: Mapping[str, str], recipe: Recipe | None) -> Method:
    """A method by its name and its settings; the project's recipe goes in where one is needed.

    Several names with commas between are run in order, as one method.
    """
    names = name.split(",")
    if len(names) > 1:
        parts = [method_of(one, _reaching(one, texts, names), recipe) for one in names]
        combined: Method = find("methods", "combine")(tuple(parts))
        return combined
    made: Method = build(_found(name), texts, {} if recipe is None else {Recipe: recipe})
    return made


def _found(name: str) -> type[Method]:
    found = find("methods", name)
    if not issubclass(found, Method):
        raise BadSetting(
            f"{name} is no method: it does not inherit from expunge.method.Method",
            hint="write `class Mine(Method)` with a `forget(self, model, case)`.",
        )
    return found


def settings_for(
    name: str, assignments: Mapping[str, str], methods: Sequence[str]
) -> dict[str, str]:
    """The settings of one of several methods: ``finetune.epochs=3``, or for all ``epochs=3``.

    What is meant for a part of a combined method keeps the part's name.
    """
    known = {part for each in methods for part in (each, *each.split(","))}
    found = {}
    for key, text in assignments.items():
        owner, dot, setting = key.rpartition(".")
        if dot and owner not in known:
            raise UnknownName("method that was asked for", owner, known)
        if not dot or owner == name:
            found[setting] = text
        elif owner in name.split(","):
            found[key] = text
    return found


def _reaching(name: str, texts: Mapping[str, str], parts: Sequence[str]) -> dict[str, str]:
    """The settings of one part: its own, and of those for all the ones that it has."""
    has = {part: settings(_found(part)) for part in parts}
    for key in texts:
        if "." not in key and not any(key in known for known in has.values()):
            raise UnknownName(
                "setting of any part", key, {k for each in has.values() for k in each}
            )
    own = settings_for(name, texts, parts)
    return {key: text for key, text in own.items() if key in has[name] or f"{name}.{key}" in texts}


def references_of(
    project: Project, parts: Split, depth: Depth, progress: Progress
) -> References | None:
    """Models that never saw the forget set, from the cache or made now; None where none can be."""
    recipe = project.recipe(progress)
    if recipe is None or not depth.seeds or not len(parts.forget):
        return None
    return retrain(
        parts,
        recipe,
        task=project.task,
        seeds=depth.seeds,
        cache=project.place(project.keys.folders.cache),
        progress=progress,
    )


def judged(
    project: Project,
    outcome: Outcome,
    references: References | None,
    depth: Depth,
    progress: Progress,
    folder: Path | None = None,
) -> tuple[Evidence, Verdict]:
    """Audit an outcome beside all that its tier compares with, and read the evidence.

    A folder is given what names samples: the scores of all attacks, and a rehearsal.
    """
    rehearsal = _rehearsed(project, outcome, depth, progress)
    if rehearsal is not None and folder is not None:
        rehearsal.save(folder / REHEARSAL)
    evidence = audit(
        outcome,
        depth.metrics,
        tier=depth.tier,
        recipe=project.recipe(progress) if depth.seeds else None,
        references=references,
        cache=project.place(project.keys.folders.cache),
        rehearsal=rehearsal,
        scores=folder and folder / SCORES,
        progress=progress,
    )
    return evidence, judge(evidence)


def _rehearsed(
    project: Project, outcome: Outcome, depth: Depth, progress: Progress
) -> Rehearsal | None:
    """The whole pipeline with canaries, where that is wanted."""
    recipe = project.recipe(progress)
    if not depth.canaries:
        return None
    if recipe is None or outcome.method is None:
        raise MissingInput(
            "a rehearsal trains and unlearns, and this needs a fit and a method",
            hint="name a fit in expunge.toml, and unlearn with `expunge run`.",
        )
    return rehearse(
        recipe,
        project.train,
        outcome.method,
        task=project.task,
        canaries=depth.canaries,
        validation=project.validation,
        cache=project.place(project.keys.folders.cache),
        progress=progress,
    )


def ending(verdicts: Sequence[Verdict], *, strict: bool) -> int:
    """The exit code that verdicts ask for."""
    bad = {"residual", "inconclusive"} if strict else {"residual"}
    return int(any(verdict.word in bad or verdict.degraded for verdict in verdicts))


def why_no_references(project: Project, request: Request, depth: Depth) -> str:
    """Why nothing is there to compare with, for whoever wonders at the verdict."""
    if isinstance(request.target, Attribute):
        return ""
    if not project.keys.fit:
        return "Nothing to compare with: expunge.toml names no fit, so no model was retrained."
    return (
        "" if depth.seeds else f"Nothing to compare with: the tier {depth.tier} retrains nothing."
    )
