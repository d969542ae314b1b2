"""Models that tell a sign behind a channel of known capacity, and what is measured of them."""

from functools import cached_property, partial
from math import log2

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Outcome, Request, split
from expunge.ensembles import Reference, References
from expunge.metric import Trial
from expunge.metrics.leakage import Leakage
from expunge.observing import snapshot

ASIDE, TEST, C = 150, 500, 3
WRONG = 0.1


class Channel:
    """A balanced yes or no is told wrongly one time in ten."""

    classes, unseen = C, TEST
    bits = 1 + WRONG * log2(WRONG) + (1 - WRONG) * log2(1 - WRONG)
    task = Classification(
        attributes={"sign": lambda batch: batch[2], "who": lambda batch: batch[3]}
    )

    def data(self, n, seed, sign=None):
        """Inputs hold the class, noise, and a sign behind a channel."""
        draw = torch.Generator().manual_seed(seed)
        y = torch.randint(C, (n,), generator=draw)
        z = torch.randint(2, (n,), generator=draw) if sign is None else sign(y)
        seen = torch.where(torch.rand(n, generator=draw) < WRONG, 1 - z, z) if sign is None else z
        x = [F.one_hot(y, C), 2.0 * seen[:, None] - 1, torch.randn(n, 1, generator=draw)]
        return TensorDataset(torch.cat(x, 1), y, z, torch.arange(n) // 4)

    def net(self, keep=1.0, tilt=0.0):
        """Features are the inputs, the sign times ``keep``; answers rest on the class, and tilt."""
        model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, C))
        with torch.no_grad():
            for layer in model:
                layer.weight.copy_(torch.eye(5)[: len(layer.weight)])
                layer.bias.zero_()
            model[0].weight[3, 3] = keep
            model[1].weight[0, 3] = tilt
            model[1].bias.fill_(-0.5)
        return model

    def parts(self, sign=None, target=None):
        request = Request(target or Attribute("sign"))
        made = [self.data(n, seed, sign) for seed, n in enumerate((20, TEST, ASIDE))]
        return split(made[0], request, test=made[1], validation=made[2])

    def trial(self, before, after, found=None, references=(), task=task):
        found = found or self.parts()
        look = partial(snapshot, split=found, task=task)
        members = [Reference(lambda m=m: m, look(m), k, 1.0, "") for k, m in enumerate(references)]
        outcome = Outcome.of(before, after, found, task=task)
        return Trial(
            outcome, look(before), look(after), References(tuple(members)) if members else None
        )

    def measured(self, found, **settings):
        metric = Leakage(**{"families": ("linear",), "layers": (), **settings})
        return {m.name: m for m in metric.measure(found)}

    @cached_property
    def kept(self):
        """Nothing was taken out."""
        return self.measured(self.trial(self.net(), self.net()))

    @cached_property
    def projected(self):
        """The channel was taken out, and an untrained model would hold it."""
        found = self.trial(self.net(), self.net(keep=0.0))
        build = partial(self.net, keep=0.3)
        return self.measured(found, build=build, families=("linear", "k-NN"))


@pytest.fixture(scope="session")
def channel():
    return Channel()
