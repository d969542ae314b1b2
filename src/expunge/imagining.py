"""Models that were never trained: answers drawn at random, for the contract suite of attacks."""

import torch
from torch import Tensor

from expunge.attack import exchangeable, familiarity, likeliest
from expunge.ensembles import Pool, Shadow, Shadows
from expunge.observing import Observation, Snapshot


def imagined(memory: float) -> Snapshot:
    """Answers of a model that adds ``memory`` to the right logit of its members."""
    generator = torch.Generator().manual_seed(1)

    def part(size: int, bonus: float) -> Observation:
        labels = torch.randint(0, 3, (size,), generator=generator)
        logits = torch.randn(size, 3, generator=generator)
        logits[torch.arange(size), labels] += 1 + bonus
        return Observation(torch.arange(size), logits, labels)

    return Snapshot(part(70, memory), part(110, memory), part(300, 0.0))


def shadowed(memory: float) -> Shadows:
    """Shadow models of the imagined model's forget set, and of as many of its test samples.

    They remember a little of what they were trained with; the mirror as much as the model itself.
    """
    seen = imagined(memory=0.0)
    held = exchangeable(seen)[1]
    comes = torch.cat([torch.ones(len(seen.forget)) > 0, torch.isin(seen.test.ids, held.ids)])
    labels = torch.cat([seen.forget.labels, seen.test.labels])
    pool = Pool(seen.forget.ids, seen.test.ids, labels, (3,))
    generator = torch.Generator().manual_seed(3)
    halves = [comes & (torch.rand(len(labels), generator=generator) < 0.5) for _ in range(8)]
    drawn = [half for one in halves for half in (one, comes & ~one)]
    mirrored = comes & (torch.arange(len(labels)) >= len(seen.forget))
    nobody = torch.zeros_like(comes)
    return Shadows(
        pool,
        tuple(_shadow(half, labels, 3.0, k) for k, half in enumerate(drawn)),
        "imagined",
        tuple(_shadow(nobody, labels, 0.0, 100 + k) for k in range(8)),
        _shadow(mirrored, labels, memory, 200),
    )


def _shadow(trained: Tensor, labels: Tensor, memory: float, seed: int) -> Shadow:
    logits = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(seed))
    logits[torch.arange(len(labels)), labels] += 1 + memory * trained
    seen = Observation(torch.arange(len(labels)), logits, labels)
    known = familiarity(seen)
    return Shadow(trained, known, known, likeliest(seen), seed, 1.0, str(seed))
