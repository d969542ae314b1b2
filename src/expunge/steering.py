"""Where what must go is to go: the centroid of another class.

A centroid is the mean embedding of the retained samples of a class. Every forget sample gets one
of them, once, in the untouched model: the nearest that is not of its own class, or the one that a
user named.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from expunge.algebra.geometry import PAIRWISE, Means, Metric
from expunge.errors import ModelDoesNotFit, TargetMismatch
from expunge.method import Case
from expunge.observing import BATCH, evaluating
from expunge.stopping import removed

Targets = int | Mapping[int, int] | None


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """The point that every forget sample is to move to, by its position in the training set."""

    ids: Int[Tensor, " n"]
    own: Int[Tensor, " n"]  # the class that every sample is of
    points: Float[Tensor, "n d"]
    margin: Float[Tensor, " n"]  # how much farther the point is than the centre of its own class
    single: Bool[Tensor, " n"]  # neither of a removed class, nor sent to a class by the user
    sent: Mapping[int, int]  # the class that a user named for samples of another

    def of(self, ids: Int[Tensor, " m"]) -> Float[Tensor, "m d"]:
        """The points of these samples."""
        return self.points[torch.searchsorted(self.ids, ids).to(self.points.device)]

    def nearest(self, count: int) -> Int[Tensor, " m"]:
        """Every sample that is not single, and so many single ones: those nearest to going."""
        margin = self.margin.masked_fill(~self.single, -torch.inf)
        chosen = margin.argsort()[: int((~self.single).sum()) + count]
        return self.ids[chosen.sort().values.cpu()]


def plotted(
    model: nn.Module, case: Case, *, distance: Metric, enough: int, targets: Targets = None
) -> Course:
    """Look up every forget sample's point; ``enough`` samples a class stand for it, or all."""
    means = centroids(model, case, enough or len(case.retain.part))
    own, features = _embedded(model, case)
    reach = PAIRWISE[distance](features, means.values.nan_to_num())
    reach[:, means.counts == 0] = torch.inf
    home = reach.gather(1, own[:, None])[:, 0]
    reach.scatter_(1, own[:, None], torch.inf)
    target, sent = reach.argmin(1), _forced(targets, own)
    for label, forced in sent.items():
        if not 0 <= forced < reach.shape[1]:
            raise _nowhere(label, forced, targets)
        target[own == label] = forced
    away = _reached(reach, target, own, targets)
    known = torch.tensor([*removed(case), *sent], dtype=torch.long, device=own.device)
    margin = (away - home).nan_to_num(neginf=0.0)
    single = ~torch.isin(own, known)
    return Course(case.forget.part.indices, own, means.values[target], margin, single, sent)


@torch.no_grad()
def centroids(model: nn.Module, case: Case, enough: int) -> Means:
    """Mean embeddings of retained classes: one pass, which ends once every class has enough."""
    with evaluating(model):
        first = case.task.answer(model, case.retain.take(case.retain.part.indices[:1]))
        means, gone = Means(first.logits.shape[1]), removed(case)
        for batch in replace(case.retain, size=BATCH, shuffle=True):
            labels = case.task.labels(batch).long()
            if bool((means.counts.to(labels.device)[labels] >= enough).all()):
                continue
            answer = case.task.answer(model, batch)
            means.add(_finite(answer.embedding), labels)
            short = means.counts < enough
            short[gone] = False
            if not short.any():
                break
    return means


@torch.no_grad()
def _embedded(model: nn.Module, case: Case) -> tuple[Int[Tensor, " n"], Float[Tensor, "n d"]]:
    """Labels and embeddings of the forget set, in its own order."""
    labels, features = [], []
    with evaluating(model):
        for batch in replace(case.forget, size=BATCH, shuffle=False):
            labels.append(case.task.labels(batch).long())
            features.append(_finite(case.task.answer(model, batch).embedding).float())
    return torch.cat(labels), torch.cat(features)


def _finite(features: Tensor) -> Tensor:
    if bool(features.isfinite().all()):
        return features
    raise ModelDoesNotFit(
        "the feature layer gives values that are not finite",
        hint="name another layer: Classification(layer=...).",
    )


def _forced(targets: Targets, own: Tensor) -> Mapping[int, int]:
    if targets is None:
        return {}
    if isinstance(targets, Mapping):
        return targets
    return dict.fromkeys(own.unique().tolist(), targets)


def _reached(reach: Tensor, target: Tensor, own: Tensor, targets: Targets) -> Float[Tensor, " n"]:
    """How far every target is; TargetMismatch where there is none."""
    away = reach.gather(1, target[:, None])[:, 0]
    lost = away.isinf().nonzero().flatten().tolist()
    if lost:
        raise _nowhere(int(own[lost[0]]), int(target[lost[0]]), targets)
    return away


def _nowhere(own: int, target: int, targets: Targets) -> TargetMismatch:
    if targets is None:
        return TargetMismatch(
            f"no retained sample is of another class than {own}, so there is nowhere to move to",
            hint="use neggrad or finetune, which need no other class.",
        )
    if own == target:
        return TargetMismatch(
            f"targets sends samples of class {own} to class {own}, which is their own",
            hint="name the class that they should have had.",
        )
    return TargetMismatch(
        f"targets sends samples to class {target}, but no retained sample is of it",
        hint="name a class that stays.",
    )
