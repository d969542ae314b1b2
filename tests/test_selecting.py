"""Which units are chosen: those that the loss was made to depend on, and no more than asked."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Regression, Request, Samples, selecting, split
from expunge.batching import Batches
from expunge.errors import BadSetting, Diverged
from expunge.method import Case
from expunge.perturbing import Gaussian
from expunge.selecting import Selector
from expunge.units import Units

WIDTH = 7


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Planted(nn.Module):
    """Seven units that know nothing of each other, of which the answer reads a few."""

    def __init__(self, *read):
        super().__init__()
        self.inner, self.read = nn.Linear(WIDTH, WIDTH), read
        nn.init.eye_(self.inner.weight)
        nn.init.zeros_(self.inner.bias)

    def forward(self, x):
        return self.inner(x)[:, [*self.read]].sum(1)


class Uneven(nn.Module):
    """Five units of 28 parameters and four of 6; the answer reads two of either."""

    def __init__(self):
        super().__init__()
        self.wide, self.narrow = nn.Conv1d(3, 5, 9), nn.Linear(5, 4)

    def forward(self, x):
        wide = self.wide(x.view(-1, 3, 13)).mean(2)
        narrow = self.narrow(wide.tanh())
        return wide[:, 1] - wide[:, 3] + narrow[:, 0] - narrow[:, 2]


def case(width=WIDTH, gone=(2, 3, 5, 8), n=21):
    x = torch.randn(n, width)
    data = TensorDataset(x, torch.full((n,), 9.0))  # far off: the loss falls with the answer
    parts = split(data, Request(Samples(gone)), test=data)
    return Case(parts.targets, Batches(parts.forget), Batches(parts.retain), None, Regression())


def selector(kind="foci", perturb=Gaussian(0.1), count=200, most=15, jitter=0.0):  # noqa: B008
    return Selector(kind, perturb, count, most, jitter)


def chosen(model, *, found=None, ids=None, **settings):
    found = found or case()
    ids = found.forget.part.indices[:1] if ids is None else ids
    return selector(**settings).choose(model, found, Units.of(model), ids)


@pytest.mark.parametrize("unit", [0, 3, 6])
def test_the_one_unit_that_the_loss_was_made_of_is_found(unit):
    assert chosen(Planted(unit))[0] == unit
    assert chosen(Planted(unit), kind="cheap") == [unit]


def test_of_two_units_that_the_loss_was_made_of_both_are_found_before_any_other():
    assert set(chosen(Planted(2, 5), count=400)[:2]) == {2, 5}


def test_jitter_finds_the_unit_where_numbers_repeat():
    """Steps of one: among 200 perturbations every value comes many times."""
    coarse = selector("cheap", lambda x: x + torch.randint(0, 3, x.shape), jitter=0.01)
    found = case()
    model = Planted(4)
    units, ids = Units.of(model), found.forget.part.indices[:1]
    assert coarse.choose(model, found, units, ids) == [4]


def test_units_that_never_answer_otherwise_are_not_chosen():
    model = Planted(1)
    with torch.no_grad():
        model.inner.weight[[0, 2, 3]] = 0.0
    found = chosen(model)
    assert found[0] == 1
    assert not {0, 2, 3} & {*found}


@pytest.mark.parametrize("kind", ["foci", "cheap", "random"])
def test_where_the_loss_never_moves_no_unit_is_chosen(kind):
    still = nn.Linear(WIDTH, 1)
    nn.init.zeros_(still.weight)
    assert chosen(still, kind=kind) == []


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_units_are_chosen_than_asked(most):
    assert len(chosen(Planted(*range(WIDTH)), most=most)) == most


def test_units_at_random_have_no_more_parameters_than_those_that_foci_finds():
    model, found = Uneven(), case(39)
    units, ids = Units.of(model), found.forget.part.indices[:1]
    drawn = set()
    for seed in range(12):
        sizes = []
        for kind in ("foci", "random"):
            torch.manual_seed(seed)
            units_of_kind = selector(kind, most=3, count=50).choose(model, found, units, ids)
            sizes.append(len(units.block(units_of_kind)))
        drawn.add(tuple(sorted(units_of_kind)))
        assert sizes[0] - 28 < sizes[1] <= sizes[0]
    assert len(drawn) > 6


class Deaf(nn.Module):
    """A network that must not be asked."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, _x):
        raise LookupError("the network was asked")


def test_a_single_unit_is_drawn_without_asking_the_network():
    drawn = [chosen(Deaf(), kind="one") for _ in range(60)]
    assert all(len(units) == 1 for units in drawn)
    assert {unit for (unit,) in drawn} == {*range(WIDTH)}
    with pytest.raises(LookupError):
        chosen(Deaf())


class Remembered:
    """Noise that is known beforehand, and how many samples were perturbed in each pass."""

    def __init__(self, noise):
        self.noise, self.sizes = noise, []

    def __call__(self, x):
        start = sum(self.sizes)
        self.sizes.append(len(x))
        return x + self.noise[start : start + len(x)]


def test_a_group_says_its_means_perturbation_by_perturbation(monkeypatch):
    seen, model, found = [], Uneven(), case(39)
    original = selecting.foci
    monkeypatch.setattr(selecting, "foci", lambda *a, **k: seen.append(a) or original(*a, **k))
    ids, noise = found.forget.part.indices[:3], torch.randn(50 * 3, 39)
    change = Remembered(noise)
    selector(perturb=change, count=50).choose(model, found, Units.of(model), ids)
    said, losses = seen.pop()
    x, y = found.forget.take(ids)
    for row in range(50):
        here = (x + noise[3 * row : 3 * row + 3]).view(3, 3, 13)
        wide = model.wide(here).mean(2)
        narrow = model.narrow(wide.tanh())
        torch.testing.assert_close(said[row], torch.cat([wide, narrow], 1).mean(0))
        answers = wide[:, 1] - wide[:, 3] + narrow[:, 0] - narrow[:, 2]
        torch.testing.assert_close(losses[row], (answers - y).square().mean())
    assert said.shape == (50, 9)
    assert change.sizes == [42 * 3, 8 * 3]


def test_of_a_large_group_eight_samples_are_perturbed():
    found = case(39, gone=tuple(range(17)), n=31)
    change = Remembered(torch.randn(40 * 8, 39))
    model = Uneven()
    selector(perturb=change, count=40).choose(
        model, found, Units.of(model), found.forget.part.indices
    )
    assert sum(change.sizes) == 40 * 8


def test_fewer_than_three_perturbations_are_refused():
    with pytest.raises(BadSetting, match="perturbations is 2"):
        selector(count=2)


def test_a_perturbed_loss_that_is_not_finite_is_named():
    with pytest.raises(Diverged, match="loss of a perturbed sample is not finite"):
        chosen(Planted(1), perturb=lambda x: x * torch.inf)


def test_choosing_leaves_the_network_as_it_was():
    model = Planted(2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    chosen(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
