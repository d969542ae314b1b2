"""A layer before the head that erases in closed form, and is estimated anew as features change.

It is the erasure of ``leace``, inside every class. Estimates do not pile up: each starts from the
features as they are before the layer. With each the head is fitted again, or else it would answer
from what is no longer there.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.algebra.erasure import Map, erase, narrow
from expunge.detaching.surveying import Survey
from expunge.erasing.asking import Answers, Census
from expunge.erasing.inserting import Erasure, Place, check, find, put, replaced
from expunge.erasing.refitting import refitted
from expunge.erasing.taking import WIDEST, Views, gathered
from expunge.errors import ModelDoesNotFit
from expunge.method import Case, Report
from expunge.observing import evaluating
from expunge.precision import half

_FEW = 8  # samples that show where features are read
_ENOUGH, _EACH = 6000, 20  # samples behind an estimate on the way: so many, or so many a feature
_RARE = 20  # samples; features that fewer make vary, and less than 5%, are held at their means
_ELSEWHERE = "pass erase=False, or the task another layer."
_PENALTY = 1e-3  # on the weights of a head that is fitted again


@dataclass(slots=True, eq=False)
class Bottleneck:
    """Where features are erased, and what was erased there before."""

    case: Case
    census: Census
    place: Place
    layer: Erasure
    before: Map  # what earlier requests erased
    carry: int | None = None  # directions in which features may vary beside the task's; None: all
    views: Views | None = None  # shows batches as training did not; None: as they are
    lost: int = 0  # directions that tell attributes, and that the last estimate took away
    more: int = 0  # that it took away besides, to carry no more than was asked for
    held: int = 0  # features that it holds at their means, because few samples make them vary

    @property
    def told(self) -> str:
        """What features lack."""
        lost = f"{self.lost} directions are erased"
        if not self.more:
            return lost
        left = len(self.before.bias) - self.lost - self.held
        beside = f"the widest {self.carry} beside" if self.carry else "no more than"
        return f"{lost}, and of {left} others features keep {beside} those that tell the classes,"

    def renew(self, model: nn.Module) -> None:
        """Estimate what is to be erased anew, from as many samples as it takes; fit the head."""
        fitted, head = self._renewed(model, self._some()), self.place.head
        if fitted is not None and head is not None:
            with torch.no_grad():
                head.weight.copy_(fitted.matrix)
                head.bias.copy_(fitted.bias)

    def settle(self, model: nn.Module) -> nn.Module:
        """The same from all samples and in full precision, with a head of its own."""
        with half(model, enabled=False):
            fitted = self._renewed(model, torch.arange(len(self.census.y)))
        head = self.place.head
        if fitted is None or head is None:
            return model
        new = fitted.layer(head.weight)
        self.place = replace(self.place, head=new)
        return replaced(model, head, new)

    def count(self, model: nn.Module) -> int:
        """How many directions have to go."""
        self._estimate(model, self._some(), keep=False)
        return self.lost

    def lift(self) -> None:
        """Erase nothing from here on but what was erased before."""
        self.layer.hold(self.before)

    def _some(self) -> Int[Tensor, " m"]:
        enough = max(_ENOUGH, _EACH * len(self.before.bias))
        return torch.randperm(len(self.census.y))[:enough].sort().values

    def _renewed(self, model: nn.Module, rows: Int[Tensor, " m"]) -> Map | None:
        """Estimate the erasure; and the head that fits what it leaves, if there is one to fit."""
        head = self.place.head
        learns = head is not None and head.weight.requires_grad
        x = self._estimate(model, rows, keep=learns)
        if head is None or not learns:
            return None
        labels, kind = self.census.labels[rows], self.case.task.kind
        outputs = head.out_features
        return refitted(self.layer.map(x), labels, kind, outputs=outputs, penalty=_PENALTY)

    def _estimate(
        self, model: nn.Module, rows: Int[Tensor, " m"], *, keep: bool
    ) -> Float[Tensor, "_ d"]:
        self.lift()
        part = self.case.retain.part
        some = replace(self.case.retain, part=replace(part, indices=part.indices[rows]))
        case, census = replace(self.case, retain=some), _only(self.census, rows)
        with torch.no_grad(), evaluating(model):
            tally, x = gathered(model, case, census, place=self.place, keep=keep, views=self.views)
        held = tally.rare(_RARE)
        tally.hold(held)
        edit = erase(tally)
        all_ = edit if self.carry is None else narrow(tally, edit, self.carry)
        self.lost, self.more, self.held = edit.lost, all_.lost - edit.lost, int(held.sum())
        self.layer.hold(all_.after(self.before))
        return x


def narrowed(
    model: nn.Module,
    case: Case,
    survey: Survey,
    carry: int | None = None,
    *,
    views: Views | None = None,
) -> tuple[nn.Module, Bottleneck | None]:
    """The model with a layer that erases, unless that would cost or take too much."""
    few = case.retain.take(case.retain.part.indices[:_FEW])
    with evaluating(model):
        features = find(model, case.task, few).features
    width = features.shape[1]
    if width > WIDEST:
        case.report.note(f"nothing was erased in closed form: {width:,} features are too many")
        return model, None
    model, bottleneck = _inserted(model, case, survey)
    bottleneck = replace(bottleneck, carry=carry, views=views)
    lost, held = bottleneck.count(model), bottleneck.held
    if 2 * lost <= width and lost + held < width:
        return bottleneck.settle(model), bottleneck
    bottleneck.lift()
    too = f", and {held} features vary in too few samples" if held else ""
    case.report.note(
        f"nothing was erased in closed form: that takes {lost} of {width} directions{too}"
    )
    return model, None


def _inserted(model: nn.Module, case: Case, survey: Survey) -> tuple[nn.Module, Bottleneck]:
    """The model with a layer that erases nothing yet, and a hold on it."""
    few = case.retain.take(case.retain.part.indices[:_FEW])
    with evaluating(model):
        place = find(model, case.task, few)
        same = torch.eye(place.features.shape[1], dtype=torch.double)
        model = put(model, place, Map(same, same.new_zeros(len(same))))
        check(model, case.task, few, place.features)
        place = find(model, case.task, few)
    if place.erasure is None:
        raise ModelDoesNotFit(f"an erasure was put {place} and is not found there", hint=_ELSEWHERE)
    quiet = replace(case, report=Report())
    return model, Bottleneck(quiet, survey.census, place, place.erasure, place.map)


def _only(census: Census, rows: Int[Tensor, " m"]) -> Census:
    answers = tuple(Answers(one.name, one.values[rows]) for one in census.answers)
    return Census(answers, census.labels[rows], census.y[rows])
