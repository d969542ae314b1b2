"""Three legacy attacks of other papers, so that tables can be set beside theirs. Not for a verdict.

Each is known as "MIA", and they cannot be compared with each other. *scrub* (Kurmanji et al.,
"Towards Unbounded Machine Unlearning", 2023; also the starting kit of the unlearning challenge of
2023): a logistic regression tells losses of the forget set from those of held-out samples of the
same classes. *duck* (Cotogni et al., "DUCK: Distance-based Unlearning via Centroid Kinematics",
2023): a support-vector machine on the same losses, its settings chosen from a grid. *salun* (Fan et
al., "SalUn", 2024): a support-vector machine tells confidences of the retain set from those of the
test set, and is asked about the forget set; what that paper reports is the share that it takes for
non-members, which retraining does not bring to one.

All three papers report an accuracy at one threshold. Here are scores instead, so that AUCs and
rates can be taken of them: decision values of a classifier that has not seen the sample, as the
share of samples judged by the same classifier that have a lower one, because five classifiers do
not share a scale. What differs otherwise: *duck*'s F1, averaged as it was, is accuracy, and its
forget set was cut to the size of the test set, where here weights balance both; *salun* took the
first retained samples as they lay, where here they are drawn. *scrub* and *duck* learn even which
way to look from the forget set, and what four parts have too much of the fifth lacks: of sets that
differ in nothing their AUC varies more than its interval says, and mostly below one half.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.algebra.sampling import drawn
from expunge.attack import Attack, Scores, exchangeable
from expunge.errors import MissingInput
from expunge.observing import Observation, Snapshot
from expunge.tasks import Kind

Array = np.ndarray[Any, np.dtype[Any]]

_FOLDS = 5
_MOST = 500  # samples of each kind to learn one number from: more make a grid of machines slow


@dataclass(frozen=True)
class Classifier(Attack):
    """Legacy: a classifier of losses or confidences, as one of three papers asks it."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    convention: Literal["salun", "scrub", "duck"] = "salun"  # whose attack it is

    def score(self, snapshot: Snapshot) -> Scores:
        member, other = exchangeable(snapshot)
        if min(len(member), len(other)) < _FOLDS:
            raise MissingInput(
                f"a classifier is learnt on {_FOLDS} parts, but there are {len(member)} forgotten "
                f"and {len(other)} held-out samples"
            )
        orders = [part.ids.argsort() for part in (member, other)]  # theirs must not matter
        found = self._scores(snapshot.retain, member.only(orders[0]), other.only(orders[1]))
        return Scores(found.member[orders[0].argsort()], found.nonmember[orders[1].argsort()])

    def _scores(self, retain: Observation, member: Observation, other: Observation) -> Scores:
        match self.convention:
            case "scrub":
                return _told_apart(member, other, _logistic)
            case "duck":
                return _told_apart(member, other, _searched)
            case "salun":
                return _asked(retain, member, other)


def _told_apart(member: Observation, other: Observation, make: Callable[[], Any]) -> Scores:
    """Learn losses of both on four parts of five, and judge the fifth."""
    own, theirs = _parts(member.ids), _parts(other.ids)
    found = [torch.zeros(len(part), dtype=torch.double) for part in (member, other)]
    for fold in range(_FOLDS):
        judge = _learnt(make(), member.losses[own != fold], other.losses[theirs != fold])
        values = judge(member.losses[own == fold]), judge(other.losses[theirs == fold])
        found[0][own == fold] = _share(values[0], torch.cat(values))
        found[1][theirs == fold] = _share(values[1], torch.cat(values))
    return Scores(*found)


def _asked(retain: Observation, member: Observation, other: Observation) -> Scores:
    """Learn confidences of retained and held-out samples; all judge the forget set."""
    kept = retain.only(drawn(retain.ids, min(_MOST, len(other)))).confidence
    parts, found = _parts(other.ids), torch.zeros(len(other), dtype=torch.double)
    about = torch.zeros(len(member), dtype=torch.double)
    for fold in range(_FOLDS):
        judge = _learnt(_machine(), kept, other.confidence[parts != fold])
        values = judge(other.confidence[parts == fold])
        found[parts == fold] = _share(values, values)
        about += _share(judge(member.confidence), values) / _FOLDS
    return Scores(about, found)


def _share(values: Float[Tensor, " m"], among: Float[Tensor, " n"]) -> Float[Tensor, " m"]:
    """The share of some values below each, and half of the share of those that are equal."""
    lines = among.sort().values
    below = [torch.searchsorted(lines, values, right=right) for right in (False, True)]
    return (below[0] + below[1]).double() / (2 * len(lines))


def _learnt(
    classifier: Any, member: Float[Tensor, " m"], other: Float[Tensor, " n"]
) -> Callable[[Tensor], Tensor]:
    """A classifier's decision values, higher for members."""
    member, other = (part[drawn(torch.arange(len(part)), _MOST)] for part in (member, other))
    x = torch.cat([member, other])[:, None].numpy()
    y = torch.cat([torch.ones(len(member)), torch.zeros(len(other))]).numpy()
    classifier.fit(x, y)

    def judge(values: Tensor) -> Tensor:
        found: Tensor = torch.from_numpy(classifier.decision_function(values[:, None].numpy()))
        return found.double()

    return judge


def _parts(ids: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """A part for every sample, by its id alone: five of about equal size."""
    ranks = torch.empty(len(ids), dtype=torch.long)
    ranks[drawn(ids, len(ids))] = torch.arange(len(ids))
    return ranks % _FOLDS


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - heavy

    return LogisticRegression(class_weight="balanced")


def _machine() -> Any:
    from sklearn.svm import SVC  # noqa: PLC0415 - heavy

    return SVC(C=3, gamma="auto", class_weight="balanced")


def _searched() -> Any:
    from sklearn.model_selection import GridSearchCV  # noqa: PLC0415 - heavy
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415
    from sklearn.svm import SVC  # noqa: PLC0415

    machine = SVC(class_weight="balanced")
    grid = {"svc__C": [1, 5, 10, 100], "svc__gamma": [0.1, 1, 10]}
    return GridSearchCV(make_pipeline(StandardScaler(), machine), grid, cv=3)
