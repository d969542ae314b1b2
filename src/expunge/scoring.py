"""Keep what every attack says of every sample, so that anybody can compute the evidence again.

These numbers name samples by their positions in the data. They lie in a file of their own beside
the evidence, which holds no such thing, and `expunge purge` removes them.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from expunge.attack import familiarity
from expunge.errors import MissingInput
from expunge.metric import Metric, Trial
from expunge.metrics.membership import Membership
from expunge.observing import Snapshot
from expunge.storing import save_tensors

SCORES = "scores.safetensors"
"""What the file is called in the folder of a run."""


def keep_scores(path: str | Path, trial: Trial, metrics: Sequence[Metric]) -> None:
    """Write the ids, how well every model knows each sample, and what every attack says of it."""
    models = {"original": trial.before, "unlearned": trial.after}
    members = () if trial.references is None else trial.references.members
    models |= {f"reference {member.seed}": member.snapshot for member in members}
    save_tensors(path, dict(_told(models, metrics)), {"holds": "scores of single samples"})


def _told(models: dict[str, Snapshot], metrics: Sequence[Metric]) -> Iterator[tuple[str, Tensor]]:
    for part in ("forget", "test"):
        yield f"{part} ids", getattr(models["unlearned"], part).ids
    for who, seen in models.items():
        for part in ("forget", "test"):
            yield f"known, {part}, {who}", familiarity(getattr(seen, part))
    for metric in metrics:
        if not isinstance(metric, Membership):
            continue
        for who, seen in models.items():
            with suppress(MissingInput):  # the evidence says why
                scores = metric.attack.score(seen)
                yield f"{metric.label}, members, {who}", scores.member
                yield f"{metric.label}, non-members, {who}", scores.nonmember
