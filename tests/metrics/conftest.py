"""Many models whose margins are known: what metrics of many models are asked about."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, Outcome, Request, Samples, split
from expunge.ensembles import Reference, References
from expunge.metric import Trial
from expunge.observing import Observation, Snapshot

GONE, N, TEST = 30, 70, 50


class Crowd:
    """Forgotten samples come first; a margin is the difference of two logits."""

    gone = GONE

    def __init__(self):
        train, test = (TensorDataset(torch.zeros(n, 1), torch.zeros(n).long()) for n in (N, TEST))
        request = Request(Samples(tuple(range(GONE))))
        self.split = split(train, request, test=test)

    def snapshot(self, margins, order=None):
        """A model with these margins on the three sets; ``order`` shuffles its samples."""
        found = []
        for part, values in zip(("forget", "retain", "test"), margins, strict=True):
            ids = getattr(self.split, part).indices
            logits = torch.stack([values, torch.zeros_like(values)], 1).float()
            seen = Observation(ids, logits, torch.zeros(len(ids)).long())
            found.append(seen if order is None else seen.only(torch.arange(len(ids)).roll(order)))
        return Snapshot(*found)

    def models(self, count, seed, shift=0.0, spread=1.0, order=None):
        """So many; ``shift`` and ``spread`` are those of margins on the forgotten samples."""
        draw = torch.Generator().manual_seed(seed)
        hard = 2 + torch.randn(N + TEST, generator=torch.Generator().manual_seed(99))
        members = []
        for k in range(count):
            gone, kept, unseen = (hard + torch.randn(N + TEST, generator=draw)).split(
                (GONE, N - GONE, TEST)
            )
            middle = hard[:GONE]
            gone = middle + shift + spread * (gone - middle)
            seen = self.snapshot((gone, kept, unseen), order and k + order)
            members.append(Reference(nn.Identity, seen, k, 1.0, str(k)))
        return References(tuple(members))

    def trial(self, references, repeats):
        model = nn.Identity()
        outcome = Outcome.of(model, model, self.split, task=Classification())
        some = (references or repeats).snapshots[0]
        return Trial(outcome, some, some, references, repeats)

    def measured(self, metric, references, repeats):
        return {m.name: m for m in metric.measure(self.trial(references, repeats))}


@pytest.fixture(scope="session")
def crowd():
    return Crowd()
