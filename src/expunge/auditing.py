"""Observe every model once, ask every metric, and write down under which circumstances."""

import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from expunge.batching import data_digest
from expunge.ensembles import Reference, References, Shadows
from expunge.errors import BadSetting, MissingInput, ModelDoesNotFit, RequestDoesNotFit, UnknownName
from expunge.evidence import Evidence, Provenance, Tier, check_names
from expunge.gathering import Company, Means, gather
from expunge.metric import Measurement, Metric, Trial
from expunge.observing import Snapshot, device_of, snapshot
from expunge.outcome import Outcome
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.rehearsal import Rehearsal
from expunge.request import Attribute, Classes, Samples, Target
from expunge.scoring import keep_scores
from expunge.seeding import seeded
from expunge.storing import digest_tensors, digest_text
from expunge.tiers import REFERENCES, by_shadows, earned, suite

__all__ = ["Evidence", "Provenance", "Tier", "audit"]


def audit(  # noqa: PLR0913 - one name for each thing that evidence may rest on
    outcome: Outcome,
    metrics: Sequence[Metric] | None = None,
    *,
    tier: Tier = "standard",
    recipe: Recipe | None = None,
    references: References | None = None,
    shadows: Shadows | None = None,
    repeats: References | None = None,
    rehearsal: Rehearsal | None = None,
    cache: str | Path | None = None,
    scores: str | Path | None = None,
    seed: int = 0,
    progress: Progress = quiet,
) -> Evidence:
    """Measure an outcome.

    Args:
        outcome: What `unlearn` returned, or `Outcome.of` for a model that somebody else made.
        metrics: What to measure; None takes all that have a place.
        tier: How much to spend: ``smoke`` retrains nothing, ``standard`` five models, ``strict``
            twenty. The evidence names the tier that its references amount to, and
            where nobody left, so that there can be none, the one that was asked for.
        recipe: How to train what the tier compares with and was not given; None: nothing is made.
        references: Models that never saw the forget set; `retrain` makes and caches them.
        shadows: Models of which some forgot each sample and others never saw it; `shadow_of`
            makes them, for attacks on single samples.
        repeats: The same unlearning of other originals; `repeat` makes them.
        rehearsal: What `rehearse` found about the whole pipeline.
        cache: A folder for models that are made; None: nothing is kept.
        scores: A file for what every attack says of every single sample; None: nothing is kept. It
            names samples, and the evidence names none.
        seed: Seeds whatever a metric draws.
        progress: Hears how far the audit is.
    """
    started = time.perf_counter()
    if tier not in REFERENCES:
        raise UnknownName("tier", tier, [*REFERENCES])
    company = Company(references, shadows, repeats, rehearsal)
    if recipe is not None:
        means = Means(recipe, tier, cache=cache)
        company = gather(outcome, means, company, progress=progress)
    if metrics is None:
        build = None if recipe is None else recipe.build
        metrics = suite(outcome.split.targets, build, tier)
    chosen = (*metrics, *by_shadows(company.shadows))
    _check_metrics(chosen)
    features = any(metric.features for metric in chosen)
    measurements: list[Measurement] = []
    with seeded(seed):
        trial = _trial(outcome, company, features=features, progress=progress)
        for done, metric in enumerate(chosen):
            progress("measure", done, len(chosen))
            measurements += _measured(metric, trial)
        progress("measure", len(chosen), len(chosen))
        if scores is not None:
            keep_scores(scores, trial, chosen)
        measurements += company.missing
        measurements += () if rehearsal is None else rehearsal.measurements()
        provenance = _provenance(outcome, company, chosen, tier, started)
    check_names(measurements)
    requests = tuple(request.id for request in outcome.split.requests)
    return Evidence(requests, tuple(measurements), provenance)


def _check_metrics(metrics: Sequence[Metric]) -> None:
    for metric in metrics:
        if not isinstance(metric, Metric):
            raise BadSetting(
                f"{metric!r} is no metric",
                hint="give instances, as in metrics=[Accuracy()]; None takes all that fit.",
            )


def _trial(outcome: Outcome, company: Company, *, features: bool, progress: Progress) -> Trial:
    references = company.references
    progress("observe", 0, 2)
    before = snapshot(outcome.before, outcome.split, outcome.task, features=features)
    _check_labels(outcome, before)
    _check_references(references, before)
    progress("observe", 1, 2)
    after = snapshot(outcome.after, outcome.split, outcome.task, features=features)
    progress("observe", 2, 2)
    if features and references is not None:
        seen = tuple(_with_features(r, outcome, before) for r in references.members)
        references = replace(references, members=seen)
    return Trial(outcome, before, after, references, company.repeats)


def _check_references(references: References | None, seen: Snapshot) -> None:
    """References must have been asked about the same samples, or nothing can be compared."""
    for member in () if references is None else references.members:
        for part in ("forget", "retain", "test"):
            theirs, ours = getattr(member.snapshot, part), getattr(seen, part)
            same = torch.equal(theirs.ids, ours.ids) and torch.equal(theirs.labels, ours.labels)
            if not same or theirs.logits.shape != ours.logits.shape:
                raise ModelDoesNotFit(
                    f"reference {member.seed} belongs to another split: its {part} set differs",
                    hint="make references with this outcome's split: retrain(outcome.split, ...).",
                )


def _check_labels(outcome: Outcome, seen: Snapshot) -> None:
    """A class must be the same to the split, which chose samples, and to the task."""
    split, found = outcome.split, set(seen.forget.labels.flatten().tolist())
    comparable = split.kind == "classes" and outcome.task.kind == "classification"
    if comparable and found != set(split.removed):
        raise RequestDoesNotFit(
            f"the request removes the classes {list(split.removed)}, but to the task the "
            f"forgotten samples are of the classes {sorted(found)}",
            hint="split(..., labels=...) must give the labels that the task reads.",
        )


def _with_features(reference: Reference, outcome: Outcome, before: Snapshot) -> Reference:
    """The reference seen with features of the layers that the original was seen with."""
    if reference.snapshot.test.features.keys() == before.test.features.keys():
        return reference
    seen = snapshot(reference.load(), outcome.split, outcome.task, features=True)
    return replace(reference, snapshot=seen)


def _measured(metric: Metric, trial: Trial) -> Iterator[Measurement]:
    kind = trial.outcome.task.kind
    if kind not in metric.tasks:
        yield Measurement.missing(metric.label, f"it makes no sense for a {kind} task")
        return
    try:
        yield from metric.measure(trial)
    except MissingInput as why:
        yield Measurement.missing(metric.label, why.fact)


def _margins(metrics: Sequence[Metric]) -> dict[str, dict[str, float]]:
    """What every metric declares that would not matter."""
    declared = {
        metric.label: {name: float(getattr(metric, name)) for name in metric.declared}
        for metric in metrics
    }
    return {name: found for name, found in declared.items() if found}


def _provenance(
    outcome: Outcome,
    company: Company,
    metrics: Sequence[Metric],
    asked: Tier,
    started: float,
) -> Provenance:
    split, method = outcome.split, outcome.method
    members = () if company.references is None else company.references.members
    parts = {"forget": split.forget, "retain": split.retain, "test": split.test}
    digests = {
        "original": digest_tensors(outcome.before.state_dict()),
        "unlearned": digest_tensors(outcome.after.state_dict()),
        "training data": data_digest(split.retain.source),
        "test data": data_digest(split.test.source),
    } | {f"reference {r.seed}": r.digest for r in members}
    digests |= _digests(company)
    return Provenance(
        kind=split.kind,
        targets=tuple(_public(target) for target in split.targets),
        counts={name: len(part) for name, part in parts.items()},
        tier=earned(len(members)) if len(split.forget) else asked,
        method="somebody else's" if method is None else method.name,
        settings={} if method is None else method.describe(),
        seed=outcome.seed,
        seconds=outcome.seconds,
        notes=outcome.notes,
        traces={name: list(trace) for name, trace in outcome.traces.items()},
        digests=digests,
        reference_seeds=tuple(r.seed for r in members),
        versions={name: version(name) for name in ("expunge", "torch", "numpy", "scipy")}
        | {"python": platform.python_version()},
        machine=f"{platform.machine()}, {os.cpu_count()} cores, {device_of(outcome.after)}",
        audit_seconds=time.perf_counter() - started,
        audited=datetime.now(UTC).isoformat(timespec="seconds"),
        margins=_margins(metrics),
        spent=_spent(company),
    )


def _digests(company: Company) -> dict[str, str]:
    """Of what else the outcome was compared with."""
    found: dict[str, str] = {}
    if company.shadows is not None:
        found["shadow models"] = company.shadows.digest
    if company.repeats is not None:
        each = (repeat.digest for repeat in company.repeats.members)
        found["repeats"] = digest_text(*each)
    if company.rehearsal is not None:
        found["pledge of the rehearsal"] = company.rehearsal.pledge.commitment
    return found


def _spent(company: Company) -> dict[str, float]:
    """Seconds that the models took, whenever they were made."""
    steps = {
        "retraining": company.references,
        "repeating": company.repeats,
        "training shadow models": company.shadows,
    }
    found = {
        f"{step} ({len(models)} models)": sum((each.seconds for each in models.members), 0.0)
        for step, models in steps.items()
        if models is not None and len(models)
    }
    if company.rehearsal is not None:
        found["rehearsing"] = company.rehearsal.seconds
    return found


def _public(target: Target) -> dict[str, Any]:
    """A target without the positions of people in the data; even a digest could be guessed."""
    match target:
        case Samples(indices):
            return {"kind": "samples", "count": len(indices)}
        case Classes(labels):
            return {"kind": "classes", "labels": [int(k) for k in labels]}
        case Attribute(name):
            return {"kind": "attribute", "name": name}
