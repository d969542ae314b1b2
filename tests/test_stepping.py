"""The Newton step against dense matrices, made coordinate by coordinate, for every curvature."""

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.data import Dataset, TensorDataset

from expunge import Classification, MultiLabel, Regression, stepping
from expunge.algebra import curvature
from expunge.algebra.parameters import Block
from expunge.batching import Batches
from expunge.errors import BadSetting
from expunge.splitting import Part
from expunge.stepping import Ground, Site
from expunge.units import Calls, Units

N, D, H, C = 13, 4, 5, 3
CHOSEN = (1, 3, 6)  # two hidden units and a logit
DAMPING = 0.03


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def entropy(logits, label):
    return F.cross_entropy(logits[None], label[None])


def binary(logits, labels):
    return F.binary_cross_entropy_with_logits(logits, labels)


def squared(logits, numbers):
    return (logits - numbers).square().mean()


def labels(kind):
    drawn = torch.randn(N, C).double()
    return {"classes": torch.arange(N) % C, "several": (drawn > 0).double(), "numbers": drawn}[kind]


TASKS = {
    "classes": (Classification(), entropy),
    "several": (MultiLabel(), binary),
    "numbers": (Regression(), squared),
}


def identity(k):
    return torch.eye(k, dtype=torch.double)


class World:
    """A network, its data, and the matrices of its loss over a block."""

    def __init__(self, kind="classes", *, site="units"):
        self.task, self.loss = TASKS[kind]
        self.model = nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Linear(H, C)).double().eval()
        self.x, self.y = 2 * torch.randn(N, D).double(), labels(kind)
        self.source = Batches(Part.whole(TensorDataset(self.x, self.y)))
        units = Units.of(self.model)
        whole = Site(Block.whole(self.model))
        self.site = Site.behind(units, CHOSEN) if site == "units" else whole
        self.pull = torch.randn(len(self.site.block)).double()

    def ground(self, kind, **given):
        settings = {"damping": DAMPING, "rounds": 500, "tolerance": 1e-12, **given}
        return Ground(self.source, torch.arange(N).split(8), self.task, kind, **settings)

    def solved(self, kind, **given):
        return self.ground(kind, **given).solve(self.model, self.site, self.pull)

    def here(self):
        return self.site.block.gather(dict(self.model.named_parameters())).detach()

    def logits(self, numbers):
        """What the network says with these numbers in the block."""
        pieces = numbers.split([len(at) for at in self.site.block.positions.values()])
        parameters = {name: p.detach() for name, p in self.model.named_parameters()}
        for (name, at), piece in zip(self.site.block.positions.items(), pieces, strict=True):
            old = parameters[name]
            parameters[name] = old.flatten().index_put((at,), piece).view(old.shape)
        return functional_call(self.model, parameters, (self.x,))

    def losses(self, numbers):
        return torch.stack([*map(self.loss, self.logits(numbers), self.y)])

    def matrix(self, kind):
        here = self.here()
        if kind == "hessian":
            return hessian(lambda numbers: self.losses(numbers).mean(), here)
        if kind == "fisher":
            rows = jacobian(self.losses, here)
            return rows.T @ rows / N
        pairs = zip(self.logits(here), self.y, strict=True)
        bends = torch.stack([hessian(lambda z, y=y: self.loss(z, y), z) for z, y in pairs])
        slopes = jacobian(self.logits, here)
        return torch.einsum("nck,ncd,ndl->kl", slopes, bends, slopes) / N

    def wanted(self, kind, damping=DAMPING):
        damped = self.matrix(kind) + damping * identity(len(self.pull))
        return torch.linalg.solve(damped, self.pull)


@pytest.mark.parametrize("site", ["units", "whole"])
@pytest.mark.parametrize("kind", ["ggn", "hessian", "fisher"])
@pytest.mark.parametrize("task", TASKS)
def test_every_curvature_divides_as_its_dense_matrix_does(kind, task, site, monkeypatch):
    monkeypatch.setattr(stepping, "_ENERGY", 1.0)
    world = World(task, site=site)
    before = {name: p.detach().clone() for name, p in world.model.named_parameters()}
    found = world.solved(kind)
    assert found.residual < 1e-9
    torch.testing.assert_close(found.x, world.wanted(kind), rtol=1e-8, atol=1e-9)
    for name, parameter in world.model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None


@pytest.mark.parametrize("kind", ["ggn", "hessian", "fisher"])
def test_a_matrix_too_large_to_write_out_is_only_multiplied_with(kind):
    world = World(site="whole")
    found = world.solved(kind, damping=2.0, written=5)  # its Hessian bends down somewhere
    assert 5 < found.rounds < 100
    torch.testing.assert_close(found.x, world.wanted(kind, 2.0), rtol=1e-8, atol=1e-9)
    assert world.solved(kind, damping=2.0, rounds=2, written=5).rounds == 2


@pytest.mark.parametrize("kind", ["ggn", "fisher"])
def test_rows_too_many_to_hold_are_only_multiplied_with(kind, monkeypatch):
    monkeypatch.setattr(stepping, "_ROWS", 50)
    world = World()
    torch.testing.assert_close(world.solved(kind).x, world.wanted(kind), rtol=1e-8, atol=1e-9)


def test_what_directions_left_out_cost_is_next_to_nothing():
    world = World()
    found, wanted = world.solved("ggn").x, world.wanted("ggn")
    longer = float(world.pull @ found) / float(world.pull @ wanted)
    assert 1 - 1e-12 <= longer < 1.02


def test_a_softmax_of_three_classes_bends_in_two_directions_only(monkeypatch):
    asked, original = [], Calls.gradients

    def counted(calls, of, chosen):
        asked.append(tuple(of.shape))
        return original(calls, of, chosen)

    monkeypatch.setattr(Calls, "gradients", counted)
    World().solved("ggn")
    assert asked == [(8, 2), (5, 2)]


def test_of_many_classes_the_strongest_directions_stand_for_all():
    """150 classes, and answers that are nearly sure: the others share what is left."""
    logits = torch.randn(64, 150).double()
    logits[:, 0] += 12
    chances = logits.softmax(1)
    bends = chances.diag_embed() - chances[:, :, None] * chances[:, None]
    kept = stepping._directions(curvature.root(bends))
    assert kept.shape[2] == 8
    whole, found = bends.sum(0), torch.einsum("ncd,nkd->ck", kept, kept)
    assert torch.linalg.matrix_norm(whole - found, 2) < 0.05 * torch.linalg.matrix_norm(whole, 2)


def test_without_curvature_the_pull_is_divided_by_the_damping():
    world = World()
    assert torch.equal(world.solved("none").x, world.pull / DAMPING)


def test_one_secant_divides_as_the_curvature_along_the_gradient_does():
    """Where the loss is a quadratic, the secant's matrix and the Hessian agree on the gradient."""
    world = World("numbers", site="whole")
    world.model = nn.Linear(D, C).double()
    world.site = Site(Block.whole(world.model))
    found = world.ground("secant").gradient(world.model)
    slope = world.site.block.gather(found)
    bent = world.matrix("hessian") @ slope
    world.pull = torch.randn(len(slope)).double()
    seen = torch.outer(bent, bent) / (slope @ bent) + DAMPING * identity(len(slope))
    wanted = torch.linalg.solve(seen, world.pull)
    torch.testing.assert_close(world.solved("secant").x, wanted, rtol=1e-6, atol=1e-6)


def test_the_gradient_is_that_of_the_mean_over_all_chunks():
    world = World(site="whole")
    wanted = jacobian(lambda numbers: world.losses(numbers).mean(), world.here())
    found = world.ground("ggn").gradient(world.model)
    torch.testing.assert_close(world.site.block.gather(found), wanted)
    assert world.ground("ggn").count == N


def test_a_matrix_that_the_machine_cannot_hold_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(curvature, "_memory", lambda: 1000.0)
    world = World()
    with pytest.raises(BadSetting, match=f"a block of {len(world.pull)} parameters takes"):
        world.solved("hessian")


class Named(Dataset):
    """Samples as mappings, with the inputs under names of their own."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"left": self.x[index, :2], "right": self.x[index, 2:], "label": self.y[index]}


class Keyed(nn.Module):
    """The same network, asked by name and answering by name."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *, left, right):
        return {"logits": self.inner(torch.cat([left, right], 1))}


@pytest.mark.parametrize("kind", ["ggn", "fisher", "hessian"])
def test_batches_may_be_mappings_and_models_may_take_names(kind, monkeypatch):
    monkeypatch.setattr(stepping, "_ENERGY", 1.0)
    world = World()
    wanted = world.wanted(kind)
    world.task = Classification(
        inputs=lambda batch: {name: batch[name] for name in ("left", "right")},
        labels=lambda batch: batch["label"],
    )
    world.source = Batches(Part.whole(Named(world.x, world.y)))
    world.model = Keyed(world.model)
    world.site = Site.behind(Units.of(world.model), CHOSEN)
    torch.testing.assert_close(world.solved(kind).x, wanted, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
@pytest.mark.parametrize("site", ["units", "whole"])
def test_a_single_number_a_sample_needs_no_column(site, shape):
    world = World("numbers")
    flatten = [nn.Flatten(0)] if len(shape) == 1 else []
    world.model = nn.Sequential(nn.Linear(D, 1), *flatten).double()
    world.y = torch.randn(shape).double()
    world.source = Batches(Part.whole(TensorDataset(world.x, world.y)))
    units = Units.of(world.model)
    world.site = Site.behind(units, [0]) if site == "units" else Site(Block.whole(world.model))
    world.pull = torch.randn(D + 1).double()
    rows = torch.cat([world.x, torch.ones(N, 1)], 1)
    damped = 2 * rows.T @ rows / N + DAMPING * identity(D + 1)
    torch.testing.assert_close(world.solved("ggn").x, torch.linalg.solve(damped, world.pull))
