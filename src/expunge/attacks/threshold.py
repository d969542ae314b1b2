"""Population threshold attack: members have the smaller loss.

Yeom et al., "Privacy Risk in Machine Learning", 2018; modified entropy by Song and Mittal,
"Systematic Evaluation of Privacy Risks", 2021. Cheap and weak: it has one threshold for all
samples, so it misses most of what per-sample attacks find. Report it as a floor. It costs no
pass: the snapshot holds all it needs. ``loss``, ``confidence`` and ``phi`` order the samples of a
classification alike, so that their AUCs agree.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.attack import Attack, Scores, exchangeable
from expunge.observing import Observation, Snapshot

Signal = Literal["loss", "confidence", "entropy", "mentropy", "phi"]


@dataclass(frozen=True)
class Threshold(Attack):
    """One signal, one threshold for all samples."""

    signal: Signal = "loss"  # what is compared with the threshold

    def score(self, snapshot: Snapshot) -> Scores:
        member, nonmember = exchangeable(snapshot)
        return Scores(signal(member, self.signal), signal(nonmember, self.signal))


def signal(seen: Observation, name: Signal) -> Float[Tensor, " n"]:
    """Higher where the model behaves as it does on what it was trained on."""
    match name:
        case "loss":
            return -seen.losses
        case "confidence":
            return seen.confidence
        case "phi":
            return seen.phi
        case "entropy":
            return -entropy(seen.probabilities)
        case "mentropy":
            return -modified_entropy(seen.probabilities, seen.labels)


def entropy(p: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
    """Shannon entropy of every row, in nats."""
    entropies: Tensor = torch.special.entr(p)
    return entropies.sum(1)


def modified_entropy(p: Float[Tensor, "n c"], labels: Tensor) -> Float[Tensor, " n"]:
    """Entropy that is small only when the model is sure *and right*."""
    own = p.gather(1, labels[:, None]).squeeze(1)
    rest = 1 - p
    wrong = p * _log(rest)
    return -rest.gather(1, labels[:, None]).squeeze(1) * _log(own) - (
        wrong.sum(1) - wrong.gather(1, labels[:, None]).squeeze(1)
    )


def _log(p: Tensor) -> Tensor:
    return p.clamp_min(torch.finfo(torch.double).tiny).log()
