"""Observe every model once, ask every metric, and write down under which circumstances."""

import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from typing import Any, ClassVar, Literal

import torch

from expunge.attacks.threshold import Threshold
from expunge.batching import data_digest
from expunge.ensembles import Reference, References
from expunge.errors import BadSetting, MissingInput, ModelDoesNotFit, RequestDoesNotFit
from expunge.metric import Measurement, Metric, Trial
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.accuracy_gap import AccuracyGap
from expunge.metrics.aus import Aus
from expunge.metrics.cost import Cost
from expunge.metrics.divergence import Divergence
from expunge.metrics.loss import Loss
from expunge.metrics.membership import Membership
from expunge.metrics.weight_distance import WeightDistance
from expunge.observing import Snapshot, device_of, snapshot
from expunge.outcome import Outcome
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.request import Attribute, Classes, Samples, Target
from expunge.retraining import retrain
from expunge.storing import check_version, digest_tensors
from expunge.unlearning import seeded

Tier = Literal["smoke", "standard", "strict"]

REFERENCES: dict[Tier, int] = {"smoke": 0, "standard": 5, "strict": 20}
"""How many models a tier retrains."""

FEWEST = 3
"""References below which an audit is a smoke test: one to try the audit on, two to compare."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """All that made the evidence: whoever repeats it gets the same numbers.

    It has as many fields as there are things to know.
    """

    kind: str  # samples, classes, attribute, or mixed
    targets: tuple[dict[str, Any], ...]
    counts: dict[str, int]
    tier: Tier
    method: str
    settings: dict[str, Any]
    seed: int | None
    seconds: float | None
    notes: tuple[str, ...]
    traces: dict[str, list[tuple[int, float]]]
    digests: dict[str, str]
    reference_seeds: tuple[int, ...]
    versions: dict[str, str]
    machine: str
    audit_seconds: float
    audited: str = ""  # when, in UTC


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured, and under which circumstances. It is never proof."""

    # JSON has no infinity; pydantic would write null, and null means that nothing is known.
    __pydantic_config__: ClassVar = {"ser_json_inf_nan": "strings"}

    request_ids: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    provenance: Provenance
    version: int = field(default=1)

    def measurement(self, name: str) -> Measurement:
        """The measurement of this name, or one that says it was not taken."""
        found = [m for m in self.measurements if m.name == name]
        return found[0] if found else Measurement.missing(name, "it was not part of this audit")

    @property
    def digest(self) -> str:
        """SHA-256 of the JSON text: what ``sha256sum`` says of the saved file."""
        return sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The evidence as JSON; `from_json` reads it back."""
        from pydantic import TypeAdapter  # noqa: PLC0415 - heavy, and needed at the border only

        return TypeAdapter(Evidence).dump_json(self, indent=1).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Evidence":
        """Read evidence, and refuse what is not evidence."""
        from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - see to_json

        from expunge.errors import CannotRead  # noqa: PLC0415

        try:
            found = TypeAdapter(Evidence).validate_json(text)
        except ValidationError as why:
            raise CannotRead(f"this is not evidence: {why.errors()[0]['msg']}") from why
        check_version("this evidence", found.version)
        return found


def audit(  # noqa: PLR0913 - one name for each thing that evidence may rest on
    outcome: Outcome,
    metrics: Sequence[Metric] | None = None,
    *,
    tier: Tier = "standard",
    recipe: Recipe | None = None,
    references: References | None = None,
    seed: int = 0,
    progress: Progress = quiet,
) -> Evidence:
    """Measure an outcome.

    Args:
        outcome: What `unlearn` returned, or `Outcome.of` for a model that somebody else made.
        metrics: What to measure; None takes all that have a place.
        tier: How much to spend: ``smoke`` retrains nothing, ``standard`` five models, ``strict``
            twenty. The evidence names the tier that its references amount to.
        recipe: How to retrain, if no references are given.
        references: Models that never saw the forget set; `retrain` makes and caches them.
        seed: Seeds whatever a metric draws.
        progress: Hears how far the audit is.
    """
    started = time.perf_counter()
    chosen = tuple(suite() if metrics is None else metrics)
    if references is None and recipe is not None and REFERENCES[tier] and len(outcome.split.forget):
        references = retrain(
            outcome.split, recipe, task=outcome.task, seeds=REFERENCES[tier], progress=progress
        )
    features = any(metric.features for metric in chosen)
    measurements: list[Measurement] = []
    with seeded(seed):
        trial = _trial(outcome, references, features=features, progress=progress)
        for done, metric in enumerate(chosen):
            progress("measure", done, len(chosen))
            measurements += _measured(metric, trial)
        progress("measure", len(chosen), len(chosen))
        provenance = _provenance(outcome, references, started)
    _check_names(measurements)
    requests = tuple(request.id for request in outcome.split.requests)
    return Evidence(requests, tuple(measurements), provenance)


def suite() -> tuple[Metric, ...]:
    """What an audit measures unless told otherwise; each says itself where it has no place."""
    return (
        Membership(Threshold("loss")),
        Membership(Threshold("mentropy")),
        Accuracy(),
        AccuracyGap(),
        Aus(),
        Loss(),
        Divergence(),
        WeightDistance(),
        Cost(),
    )


def _trial(
    outcome: Outcome, references: References | None, *, features: bool, progress: Progress
) -> Trial:
    _check_references(outcome, references)
    progress("observe", 0, 2)
    before = snapshot(outcome.before, outcome.split, outcome.task, features=features)
    _check_labels(outcome, before)
    progress("observe", 1, 2)
    after = snapshot(outcome.after, outcome.split, outcome.task, features=features)
    progress("observe", 2, 2)
    if features and references is not None:
        references = References(tuple(_with_features(r, outcome) for r in references.members))
    return Trial(outcome, before, after, references)


def _check_references(outcome: Outcome, references: References | None) -> None:
    wanted = outcome.split.forget.indices
    for member in () if references is None else references.members:
        if not torch.equal(member.snapshot.forget.ids, wanted):
            raise ModelDoesNotFit(
                f"reference {member.seed} was retrained without another forget set",
                hint="make references with the split of this outcome: retrain(outcome.split, ...).",
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


def _check_names(measurements: Sequence[Measurement]) -> None:
    names = [m.name for m in measurements]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BadSetting(
            f"two metrics measure {twice[0]!r}",
            hint="ask for each metric once: nobody could tell which of the two decides.",
        )


def _with_features(reference: Reference, outcome: Outcome) -> Reference:
    seen = snapshot(reference.load(), outcome.split, outcome.task, features=True)
    return Reference(reference.load, seen, reference.seed, reference.seconds, reference.digest)


def _measured(metric: Metric, trial: Trial) -> Iterator[Measurement]:
    kind = trial.outcome.task.kind
    if kind not in metric.tasks:
        yield Measurement.missing(metric.label, f"it makes no sense for a {kind} task")
        return
    try:
        yield from metric.measure(trial)
    except MissingInput as why:
        yield Measurement.missing(metric.label, why.fact)


def _provenance(outcome: Outcome, references: References | None, started: float) -> Provenance:
    split, method = outcome.split, outcome.method
    members = () if references is None else references.members
    parts = {"forget": split.forget, "retain": split.retain, "test": split.test}
    digests = {
        "original": digest_tensors(outcome.before.state_dict()),
        "unlearned": digest_tensors(outcome.after.state_dict()),
        "training data": data_digest(split.retain.source),
        "test data": data_digest(split.test.source),
    } | {f"reference {r.seed}": r.digest for r in members}
    return Provenance(
        kind=split.kind,
        targets=tuple(_public(target) for target in split.targets),
        counts={name: len(part) for name, part in parts.items()},
        tier=_earned(len(members)),
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
    )


def _earned(references: int) -> Tier:
    if references < FEWEST:
        return "smoke"
    return "strict" if references >= REFERENCES["strict"] else "standard"


def _public(target: Target) -> dict[str, Any]:
    """A target without the positions of people in the data; even a digest could be guessed."""
    match target:
        case Samples(indices):
            return {"kind": "samples", "count": len(indices)}
        case Classes(labels):
            return {"kind": "classes", "labels": [int(k) for k in labels]}
        case Attribute(name):
            return {"kind": "attribute", "name": name}
