"""Features at one depth of a model: what they are to hold, and what they are not.

A pass of the model gives features and a loss of its own. What is added here has slopes in the
features, and in no critic: critics are trained before, on features without their history. Decoders
are trained by the slopes that the same backward pass leaves in them, once the next features come.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from math import log
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from expunge.algebra.information import Scalar, clipped, reverse
from expunge.detaching.critics import Critics, Memory, Training, plain
from expunge.detaching.decoders import decoder, missed, wanted
from expunge.detaching.remembering import losses
from expunge.detaching.surveying import Survey, Truth
from expunge.detaching.weighing import Weights
from expunge.errors import UnknownName
from expunge.tasks import Batch

Estimator = Literal["vclub", "minmax", "reversal"]

_LR = 1e-3  # of decoders and heads
_WIDTH = 128
_SIDE = 2  # of maps, as critics and heads see them


@dataclass(frozen=True, slots=True)
class Aim:
    """What is asked of features, and how what they tell is measured."""

    weights: Weights = field(default_factory=Weights)
    estimator: Estimator = "vclub"
    critics: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        """Refuse estimators of other names, the naive loss among them."""
        if self.estimator not in get_args(Estimator):
            raise UnknownName("estimator", self.estimator, get_args(Estimator))


class _Heard(NamedTuple):
    """What critics knew of an attribute in one batch."""

    bits: float
    answers: int  # samples that they could be asked about


class Depth:
    """One depth of a model."""

    def __init__(
        self, survey: Survey, aim: Aim, *, at: float = 1.0, answers: torch.Size | None = None
    ) -> None:
        """Look at features at a share of the depth; with ``answers`` of a shape, by a head too."""
        self._survey, self._aim, self._at, self._shape = survey, aim, at, answers
        self._memory, self._critics = Memory(), list[Critics]()
        self._decoder: nn.Module | None = None
        self._head: nn.Module | None = None
        self._aids: Adam | None = None  # None: nothing was seen yet, or nobody aids
        self._heard = defaultdict[str, list[_Heard]](list)

    @property
    def known(self) -> dict[str, float]:
        """Bits that critics know of the last batch, where anybody answers; below zero, wrongly."""
        last = {name: heard[-1] for name, heard in self._heard.items()}
        return {name: one.bits for name, one in last.items() if one.answers}

    def knew(self, batches: int) -> dict[str, float]:
        """The same of the last batches together, in which every answer weighs the same."""
        found = {}
        for name, heard in self._heard.items():
            bits = sum(one.bits * one.answers for one in heard[-batches:])
            found[name] = max(0.0, bits / max(1, sum(one.answers for one in heard[-batches:])))
        return found

    def loss(self, features: Float[Tensor, "n *d"], batch: Batch, share: float) -> Scalar:
        """What is to be added to the loss of the task, with a share of the strength."""
        with torch.autocast(features.device.type, enabled=False):
            self._follow()
            truth, target = self._survey.read(batch), wanted(self._survey.task.inputs(batch))
            x = rows(features.float())
            if not self._critics:
                self._start(features, x, truth, target)
            self._memory.add(x.detach(), truth)
            found = self._pushed(x, truth, share)
            if self._decoder is not None and target is not None:
                told = self._survey.shown(truth)
                weight = self._unit * self._aim.weights.at(self._at).keep_x
                found = found + weight * missed(self._decoder, features, told, target)
            if self._head is not None and self._shape is not None:
                logits = self._head(x).view(-1, *self._shape)
                found = found + self._at * losses(self._survey.task, logits, batch).mean()
            return found

    @property
    def _unit(self) -> float:
        """What a weight of one is worth in the loss of the task."""
        return self._survey.baseline / self._aim.weights.keep_y

    def _pushed(self, x: Float[Tensor, "n d"], truth: Truth, share: float) -> Scalar:
        """What critics know of every attribute, added up as shares of what there is to know."""
        among, past = self._memory.all()
        strength = share * self._unit * self._aim.weights.at(self._at).strength
        now, among, size = plain(x, among), plain(among, among), len(x)
        found = x.new_zeros(())
        for k, critics in enumerate(self._critics):
            if self._aim.estimator != "reversal":
                critics.learn(among, past.z[k], past.y, size)
            found = found + self._against(k, now, truth, strength)
        return found

    def _against(self, k: int, x: Float[Tensor, "n d"], truth: Truth, strength: float) -> Scalar:
        hidden, critics, z, y = self._survey.attributes[k], self._critics[k], truth.z[k], truth.y
        answers = int(hidden.asked(z, y).sum())
        if not answers:  # nobody to be surprised at: that would look like knowing all
            self._heard[hidden.name].append(_Heard(0.0, 0))
            return x.new_zeros(())
        with torch.no_grad():
            knows = hidden.entropy - critics.surprises(x, z, y)
        self._heard[hidden.name].append(_Heard(knows.mean().item() / log(2), answers))
        weight = strength / hidden.entropy
        match self._aim.estimator:
            case "vclub":  # a bound moves features however little a critic knows: heed who knows
                heed = (knows / hidden.entropy).clamp(0.0, 1.0)
                return weight * (heed * critics.bounds(x, z, y)).mean()
            case "minmax":
                return weight * clipped(critics.surprises(x, z, y), hidden.entropy).mean()
            case "reversal":  # critics climb down, and what is turned round climbs up, if they know
                turned = reverse(x, weight * (knows > 0).float().mean().item())
                return critics.surprises(turned, z, y, frozen=False).mean()

    def _start(
        self, features: Tensor, x: Float[Tensor, "n d"], truth: Truth, target: Tensor | None
    ) -> None:
        survey, aim = self._survey, self._aim
        self._critics = [
            Critics(each, x, len(survey.alike), aim.critics) for each in survey.attributes
        ]
        if target is not None and aim.weights.keep_x:
            self._decoder = decoder(features, survey.shown(truth).shape[1], target)
        if self._shape is not None:
            self._head = nn.Sequential(
                nn.Linear(x.shape[1], _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, self._shape.numel())
            ).to(x.device)
        aids = [p for each in (self._decoder, self._head) if each for p in each.parameters()]
        self._aids = Adam(aids, lr=_LR, fused=True) if aids else None

    def _follow(self) -> None:
        """Let everybody who aids take the step that the last backward pass asks for."""
        if self._aids is not None:
            self._aids.step()
            self._aids.zero_grad()
        for critics in self._critics:
            critics.follow()


def rows(features: Float[Tensor, "n *d"]) -> Float[Tensor, "n e"]:
    """One row a sample: maps are averaged over quarters, sequences over their length."""
    if features.ndim == 4:
        return F.adaptive_avg_pool2d(features, _SIDE).flatten(1)
    return features.mean(1) if features.ndim == 3 else features.flatten(1)
