"""Pictures of what probes found: curves over places, tables, who is exposed, and maps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.algebra.gains import ranking
from expunge.algebra.geometry import telling
from expunge.metric import Exhibit
from expunge.probing import Finding, Question, best
from expunge.representing import FEATURES, Places

Found = Mapping[str, Finding]
"""What every family of probes found at one place of one model."""

_BINS = 24
_DOTS = 150  # samples on a map


def by_place(name: str, found: Mapping[tuple[str, str], Found], places: Sequence[str]) -> Exhibit:
    """What the best probe gains at every place of every model, the first layer first."""
    rows = [
        (place, *astuple(best(found[which, place]).worth()), which)
        for which in dict.fromkeys(which for which, _ in found)
        for place in places
        if (which, place) in found
    ]
    columns = in_columns(("place", "bits", "from", "to", "model"), rows)
    title = f"What the best probe gains about {name} beyond the label, layer by layer"
    return Exhibit("curve", title, columns, x="place", y="bits", by="model")


def listed(name: str, found: Mapping[tuple[str, str, str], Found]) -> Exhibit:
    """Every probe at every place: its bits before, and what it is worth after."""
    rows = [
        (what, place, probe, _bits(found, (what, "original", place), probe), *_numbers(each))
        for (what, which, place), probes in found.items()
        for probe, each in probes.items()
        if which == "unlearned"
    ]
    names = ("asked", "place", "probe", "original", "unlearned", "from", "to", "AUC", "gain")
    return Exhibit("table", f"All probes for {name}, in bits", in_columns(names, rows))


def spread(name: str, before: Finding, after: Finding) -> Exhibit:
    """How many samples gain so many bits; who they are is not told."""
    both = torch.cat([before.bits, after.bits])
    low = both.min().floor().item()
    high = max(low + 1, both.max().ceil().item())
    rows = [
        (round(low + (k + 0.5) * (high - low) / _BINS, 4), count / len(each.bits), which)
        for which, each in (("original", before), ("unlearned", after))
        for k, count in enumerate(each.bits.histc(_BINS, low, high).tolist())
    ]
    title = f"Bits that features tell of everybody's {name}"
    columns = in_columns(("bits", "share", "model"), rows)
    return Exhibit("curve", title, columns, "bits", "share", "model")


def mapped(
    name: str, question: Question, words: Sequence[str], seen: Mapping[str, Places]
) -> Exhibit:
    """Scored samples along the directions that tell the groups of others apart best."""
    score = question.ways[2][:_DOTS]
    score = score[question.z[score].argsort(stable=True)]  # groups in their order
    rows = [
        (*place, words[group], which)
        for which, places in seen.items()
        for place, group in zip(
            _placed(places[FEATURES], question)[score].tolist(),
            question.z[score].tolist(),
            strict=True,
        )
    ]
    names = ("first telling direction", "second telling direction", name, "model")
    title = f"Features of samples that were not looked at before, by {name}"
    first, second, *_ = names
    return Exhibit("points", title, in_columns(names, rows), first, second, name)


def in_columns(names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Rows as columns under these names."""
    return {name: [*values] for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def _placed(x: Float[Tensor, "n d"], question: Question) -> Float[Tensor, "n 2"]:
    """Two numbers a sample, about the mean of its class; one spread for all."""
    learn = question.ways[0]
    x, z, y = x.double(), question.z[learn], question.y
    known = torch.zeros(int(y.max()) + 1, x.shape[1]).double().index_add_(0, y[learn], x[learn])
    x = x - (known / y[learn].bincount(minlength=len(known)).clamp_min(1)[:, None])[y]
    flat: Tensor = x @ telling(x[learn], z)
    return flat / flat[learn].std().clamp_min(1e-12)


def _bits(
    found: Mapping[tuple[str, str, str], Found], at: tuple[str, str, str], probe: str
) -> float:
    return found[at][probe].worth().value


def _numbers(found: Finding) -> tuple[float | None, ...]:
    ranked = ranking(found.told, found.asked, found.whose)
    in_order = None if ranked is None else ranked.value
    return (*astuple(found.worth()), in_order, found.worth("accuracy gain").value)
