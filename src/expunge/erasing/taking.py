"""Take attributes out of features: one pass over the data, one affine map, one layer more.

Every retained sample passes through the model once, in evaluation mode. Sums of products are all
that is kept of its features, unless the head is to be fitted again, which needs them whole.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.algebra.affine import exact
from expunge.algebra.erasure import Map, Moments
from expunge.erasing.asking import Census, ask, ordered
from expunge.erasing.inserting import Place, check, find, finite, lifted, put, read, replaced
from expunge.erasing.refitting import mean_loss, refitted
from expunge.erasing.tallying import HELD, Tally
from expunge.errors import ModelDoesNotFit
from expunge.method import Case
from expunge.observing import evaluating
from expunge.tasks import Batch

_FEW = 8  # samples that show where features are read, and whether an erasure holds there
_FLAT = 1e-9  # a direction that a map shrinks to less is gone
WIDEST = 8192
"""Features of a sample at most; to find the axes of more takes hours."""


Views = Callable[[Batch], Batch]
"""Shows a batch otherwise, as training did not see it, and with the same labels."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to erase."""

    edit: Callable[[Moments], Map]
    inside: bool  # each class by itself, so that what a class tells of an attribute stays
    rare: int  # samples; features that fewer make vary, and less than 5%, are held at their means
    penalty: float | None  # on the weights of a head that is fitted again; None: it stays
    views: Views | None = None  # what inputs could have been as well; None: they are as they are


def take_out(model: nn.Module, case: Case, plan: Plan) -> nn.Module:
    """The model, with a layer after which no affine probe finds the attributes of the case."""
    census = ask(case, inside=plan.inside)
    with torch.no_grad(), evaluating(model):
        few = case.retain.take(case.retain.part.indices[:_FEW])
        place = find(model, case.task, few)
        _check_width(place)
        keep = plan.penalty is not None
        tally, rows = gathered(model, case, census, place=place, keep=keep, views=plan.views)
        held = tally.rare(plan.rare)
        tally.hold(held)
        edit = plan.edit(tally)
        _tell(case, census, place, edit, held=int(held.sum()))
        if not edit.lost:
            return model
        want = edit.after(place.map)(read(model, case.task, few, place))
        model = put(model, place, edit)
        check(model, case.task, few, want)
        if plan.penalty is None:
            return model
        both = rows, edit(rows)
        return _refitted(model, case, place, labels=census.labels, rows=both, penalty=plan.penalty)


def gathered(
    model: nn.Module,
    case: Case,
    census: Census,
    *,
    place: Place | None = None,
    keep: bool = False,
    views: Views | None = None,
) -> tuple[Tally, Float[Tensor, "m d"]]:
    """Sums over all retained samples, each passed through the model once.

    Beside them stand the features of all, or of none if they are not to be kept. What an erasure
    at the ``place`` leaves is taken before it is rounded, or else the rounding would look like
    directions of its own.
    """
    batches, tally, rows = ordered(case.retain), Tally(int(census.y.max()) + 1), []
    answers, y = (one.tensor_split(len(batches)) for one in (census.columns, census.y))
    there = None if place is None else place.erasure
    left = None if there is None else there.map
    with lifted(there):
        for k, batch in enumerate(batches):
            shown = batch if views is None else views(batch)
            raw = finite(case.task.answer(model, shown).embedding)
            x = left(raw.double()) if left else raw
            tally.add(x, answers[k], y[k])
            rows.append((x if keep else x[:0]).to("cpu", exact(raw)))
            case.report.progress("unlearn", k + 1, len(batches))
    return tally, torch.cat(rows)


def _refitted(
    model: nn.Module,
    case: Case,
    place: Place,
    *,
    labels: Tensor,
    rows: tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]],
    penalty: float,
) -> nn.Module:
    """The model with another head, for features that were one thing and are another."""
    if place.head is None or not place.head.weight.requires_grad:
        why = "is frozen" if place.head else f"does not answer from the features {place} directly"
        case.report.note(f"the head stays: it {why}")
        return model
    old, (before, after), kind = Map.of(place.head), rows, case.task.kind
    new = refitted(after, labels, kind, outputs=place.head.out_features, penalty=penalty)
    told = [mean_loss(m(x), labels, kind) for m, x in ((old, before), (old, after), (new, after))]
    words = ("as it was", "erased", "with the head fitted again")
    case.report.note(
        "retain loss: " + ", ".join(f"{x:.4g} {word}" for x, word in zip(told, words, strict=True))
    )
    return replaced(model, place.head, new.layer(place.head.weight))


def _check_width(place: Place) -> None:
    d = place.features.shape[1]
    if d > WIDEST:
        raise ModelDoesNotFit(
            f"the features {place} are {d:,} numbers a sample, and no more than {WIDEST:,} can be "
            f"erased from",
            hint="pass the task layer=..., a layer whose output is pooled.",
        )


def _tell(case: Case, census: Census, place: Place, edit: Map, *, held: int) -> None:
    """Say what was taken out of what, and what is promised."""
    left = int(torch.linalg.matrix_rank(edit.after(place.map).matrix, atol=_FLAT, rtol=0.0))
    if left == 0:
        too, less = "", ""
        if held:
            too, less = f", and {held} features vary in too few samples", "a smaller rare, "
        raise ModelDoesNotFit(
            f"to take out {census.names} would leave nothing of the features {place}: that takes "
            f"{edit.lost} directions{too}",
            hint=f'use condition_on="nothing", fewer groups, {less}or a wider layer.',
        )
    note, classes = case.report.note, len(census.y.unique())
    note(f"{edit.lost} directions were removed {place}, and {left} are left")
    if held and edit.lost:
        note(f"{HELD}: {held}")
    for one in census.answers:
        note(one.told(census.y))
    if edit.lost == 0:
        note(f"nothing was changed: features tell nothing about {census.names} beyond the label")
        return
    where = f"inside each of {classes} classes" if classes > 1 else "over all samples"
    note(
        f"promised: {where}, no affine probe of these features reads {census.names} better than a "
        f"constant does, for the {len(census.y):,} retained samples"
    )
    note("not promised: probes that are not affine, other layers, and samples that were not seen")
