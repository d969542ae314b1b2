"""How much evidence a tier stands for: how many models it trains, and what it measures."""

from collections.abc import Callable, Sequence

from torch import nn

from expunge.attacks.threshold import Threshold
from expunge.evidence import FEWEST, Tier
from expunge.metric import Metric
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.accuracy_gap import AccuracyGap
from expunge.metrics.attribution import Attribution
from expunge.metrics.aus import Aus
from expunge.metrics.blind import Blind
from expunge.metrics.cost import Cost
from expunge.metrics.divergence import Divergence
from expunge.metrics.fairness import Fairness
from expunge.metrics.feature_space import FeatureSpace
from expunge.metrics.forget_flow import ForgetFlow
from expunge.metrics.leakage import Leakage
from expunge.metrics.loss import Loss
from expunge.metrics.membership import Membership
from expunge.metrics.probe import Probe
from expunge.metrics.reattack import Reattack
from expunge.metrics.relearning import Relearning
from expunge.metrics.selectivity import Selectivity
from expunge.metrics.weight_distance import WeightDistance
from expunge.request import Attribute, Target

REFERENCES: dict[Tier, int] = {"smoke": 0, "standard": 5, "strict": 20}
"""How many models a tier retrains."""

Build = Callable[[], nn.Module]


def earned(references: int) -> Tier:
    """The tier that so many references amount to."""
    if references < FEWEST:
        return "smoke"
    return "strict" if references >= REFERENCES["strict"] else "standard"


def suite(
    targets: Sequence[Target] = (), build: Build | None = None, tier: Tier = "standard"
) -> tuple[Metric, ...]:
    """What an audit measures unless told otherwise; each says itself where it has no place.

    Args:
        targets: What was to be forgotten; where these are attributes alone, nobody left whose
            absence could be measured.
        build: Makes an untrained model, of which as much about an attribute may come back.
        tier: How much to measure: ``smoke`` asks only what needs no retrained model.
    """
    attributes = [target for target in targets if isinstance(target, Attribute)]
    about = (Leakage(build=build), Reattack(build=build), Fairness(), Selectivity())
    if attributes and len(attributes) == len(targets):
        return (*about, Accuracy(), Loss(), Cost())
    beside = () if tier == "smoke" else _against_references(build)
    return (*(about if attributes else ()), *_of_answers(build), *beside, Cost())


def _of_answers(build: Build | None) -> tuple[Metric, ...]:
    """What can be asked of two models alone; seconds."""
    return (
        Membership(Threshold("loss")),
        Membership(Threshold("mentropy")),
        Blind(build=build),
        Accuracy(),
        Aus(),
        Loss(),
    )


def _against_references(build: Build | None) -> tuple[Metric, ...]:
    """What says something only beside retrained models."""
    return (
        AccuracyGap(),
        Divergence(),
        Relearning(build=build),
        Probe(),
        ForgetFlow(),
        FeatureSpace(),
        Attribution(),
        WeightDistance(),
    )
