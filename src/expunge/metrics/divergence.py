"""How differently the model and the references answer on the forget set.

The references speak with one voice, the mean of their probabilities; beside each number stands
what one reference scores against the others, which is the least one can ask for. Activation
distance is Golatkar's: the mean Euclidean distance between probability vectors.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from expunge.algebra.statistics import js_bits, kl, mean_interval
from expunge.metric import Measurement, Metric, Trial
from expunge.tasks import Kind

Apart = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Divergence(Metric):
    """Distance between the model's answers and the references', on the forget set."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        theirs = [s.forget.probabilities for s in trial.compared.snapshots]
        after, before = trial.after.forget.probabilities, trial.before.forget.probabilities
        if len(after) == 0:
            return
        voice = torch.stack(theirs).mean(0)
        for name, apart in _APART.items():
            values = apart(voice, after)
            found = mean_interval(values)
            yield Measurement(
                name,
                found.value,
                "lower",
                (found.low, found.high) if len(values) > 1 else None,
                n=len(values),
                original=mean_interval(apart(voice, before)) if len(values) > 1 else None,
                target=_among(theirs, apart),
            )


def _among(answers: list[Tensor], apart: Apart) -> tuple[float, ...]:
    """What each reference scores against the mean of the others."""
    if len(answers) < 2:
        return ()
    total = torch.stack(answers).sum(0)
    return tuple(apart((total - own) / (len(answers) - 1), own).mean().item() for own in answers)


def _disagreement(p: Tensor, q: Tensor) -> Tensor:
    return (p.argmax(1) != q.argmax(1)).double()


def _distance(p: Tensor, q: Tensor) -> Tensor:
    return (p - q).square().sum(1).sqrt()


_APART: dict[str, Apart] = {
    "KL divergence from the references": kl,
    "JS divergence from the references (bits)": js_bits,
    "disagreement with the references": _disagreement,
    "activation distance to the references": _distance,
}
