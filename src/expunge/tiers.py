"""How much evidence a tier stands for: how many models it trains, and what it measures."""

from collections.abc import Callable, Sequence

from torch import nn

from expunge.attacks.rmia import Rmia
from expunge.attacks.swap import Swap
from expunge.attacks.threshold import Threshold
from expunge.attacks.ulira import Ulira
from expunge.ensembles import Shadows
from expunge.evidence import FEWEST, Tier
from expunge.metric import Metric
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.accuracy_gap import AccuracyGap
from expunge.metrics.attribution import Attribution
from expunge.metrics.aus import Aus
from expunge.metrics.avg_gap import AvgGap
from expunge.metrics.blind import Blind
from expunge.metrics.calibration import Calibration
from expunge.metrics.challenge import Challenge
from expunge.metrics.collateral import Collateral
from expunge.metrics.cost import Cost
from expunge.metrics.divergence import Divergence
from expunge.metrics.exposure import Exposure
from expunge.metrics.fairness import Fairness
from expunge.metrics.feature_space import FeatureSpace
from expunge.metrics.forget_flow import ForgetFlow
from expunge.metrics.klom import Klom
from expunge.metrics.leakage import Leakage
from expunge.metrics.loss import Loss
from expunge.metrics.membership import Membership
from expunge.metrics.probe import Probe
from expunge.metrics.reattack import Reattack
from expunge.metrics.relearning import Relearning
from expunge.metrics.representation import Representation
from expunge.metrics.selectivity import Selectivity
from expunge.metrics.silenced import Silenced
from expunge.metrics.tug_of_war import TugOfWar
from expunge.metrics.update_leakage import UpdateLeakage
from expunge.metrics.weight_distance import WeightDistance
from expunge.metrics.zrf import Zrf
from expunge.request import Attribute, Target

REFERENCES: dict[Tier, int] = {"smoke": 0, "standard": 5, "strict": 20}
"""How many models a tier retrains."""

PAIRS: dict[Tier, int] = {"smoke": 0, "standard": 8, "strict": 32}
"""How many pairs of shadow models it trains and unlearns, where samples were to be forgotten."""

RETRAINED: dict[Tier, int] = {"smoke": 0, "standard": 0, "strict": 8}
"""How many models it retrains beside the shadows, for the game of efficacy."""

REPEATS: dict[Tier, int] = {"smoke": 0, "standard": 0, "strict": 32}
"""How many times a tier repeats the unlearning of samples, on originals of other seeds."""

SHARPER = "membership AUC, ulira (privacy)"
"""What attacks single samples, by shadow models that were unlearned too."""

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
    many = (Klom(), Challenge()) if tier == "strict" else ()
    return (*(about if attributes else ()), *_of_answers(build), *beside, *many, Cost())


def by_shadows(shadows: Shadows | None) -> tuple[Metric, ...]:
    """The attacks for which shadow models were made."""
    if shadows is None:
        return ()
    found = [Membership(Ulira(shadows)), Membership(Rmia(shadows))]
    if shadows.retrained:
        found.append(Membership(Ulira(shadows, "efficacy")))
    if shadows.mirror is not None:
        found.append(Membership(Swap(shadows)))
    return tuple(found)


def _of_answers(build: Build | None) -> tuple[Metric, ...]:
    """What can be asked of two models alone; seconds."""
    return (
        Membership(Threshold("loss")),
        Membership(Threshold("mentropy")),
        Blind(build=build),
        Accuracy(),
        Silenced(),
        Aus(),
        Loss(),
        Calibration(),
        Zrf(build=build),
        UpdateLeakage(),
    )


def _against_references(build: Build | None) -> tuple[Metric, ...]:
    """What says something only beside retrained models."""
    return (
        AccuracyGap(),
        AvgGap(),
        TugOfWar(),
        Divergence(),
        Relearning(build=build),
        Probe(),
        Representation(),
        Exposure(),
        ForgetFlow(),
        FeatureSpace(),
        Collateral(),
        Attribution(),
        WeightDistance(),
    )
