"""A network that does whatever makes a unit hard to follow, and what one sample alone would ask."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from expunge.units import Units, watched

N = 6


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def drawn(*shape, dtype=torch.double):
    return torch.randn(N, *shape, dtype=dtype)


def ready(model, dtype=torch.double):
    """The model in evaluation mode, as lively as if it had been trained."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            module.reset_parameters()  # cases of a test are built before its dice
            module.weight.data.mul_(4)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.to(dtype).eval()


def own(out):
    """A number a sample, with a slope that differs from place to place."""
    return (out * out.sin()).flatten(1).sum(1)


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def asked(model, x, chosen, units=None):
    units = units or Units.of(model)
    with watched(model, units) as calls:
        return calls.gradients(own(model(x)), chosen)


def one_by_one(model, x, block):
    """The same with a backward pass of its own for every sample."""
    learning = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    names, parameters = zip(*learning, strict=True)
    rows = []
    for sample in x.split(1):
        found = torch.autograd.grad(
            own(model(sample)).sum(), parameters, allow_unused=True, materialize_grads=True
        )
        rows.append(block.gather(dict(zip(names, found, strict=True))))
    return torch.stack(rows)


def agree(model, x, chosen=None, units=None):
    units = units or Units.of(model)
    chosen = range(len(units)) if chosen is None else chosen
    found, wanted = asked(model, x, chosen, units), one_by_one(model, x, units.block(chosen))
    assert wanted.std(0).max() > 0.01  # samples whose gradients are alike could be exchanged
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def said(model, x, units=None):
    with torch.no_grad(), watched(model, units or Units.of(model)) as calls:
        model(x)
    return calls.activations()


class Residual(nn.Module):
    """Registered in another order than it runs; layers of equal shape; all that can go in place."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.tokens = nn.Linear(4, 4)
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.stem = nn.Conv2d(2, 4, (3, 2), stride=(2, 1), bias=False)
        self.line = nn.Conv1d(4, 8, 3, stride=2, groups=2, padding=1, padding_mode="circular")
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.norm(self.stem(x)))
        x = F.relu_(self.second(self.relu(self.first(x))).add_(x))
        x = F.relu_(self.first(x).mul_(0.5))
        x = x.flatten(2).mT
        x = F.silu(self.tokens(F.relu_(self.tokens(x))), inplace=True)
        x = self.relu(self.line(x.mT))
        return self.head(x.mean(2))


class Bench:
    """What tests about units share."""

    N = N
    Residual = Residual
    drawn, ready, own = staticmethod(drawn), staticmethod(ready), staticmethod(own)
    asked, agree, said = staticmethod(asked), staticmethod(agree), staticmethod(said)
    hooks = staticmethod(hooks)


@pytest.fixture
def bench():
    return Bench
