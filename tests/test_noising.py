"""Noise: how much, on which numbers, and what the notes may say of it."""

from dataclasses import replace
from math import exp, log, sqrt

import pytest
import torch
from scipy.stats import norm
from torch import nn

from expunge.algebra.parameters import Block
from expunge.method import Report
from expunge.noising import Noise

N, GONE = 900, 4
L2, L, M = 0.1, 2.0, 0.5
HEURISTIC = Noise(0.3, 0.02, "all", L2, L, M, ("the moon must be full", "and the sea calm"))
PROMISE = replace(HEURISTIC, unmet=())


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def network():
    model = nn.Sequential(nn.Linear(90, 70), nn.Linear(70, 50), nn.Linear(50, 2))
    model[2].requires_grad_(requires_grad=False)
    return model


def moved(model, shake):
    """How far every number was moved."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    shake()
    return {name: p.detach() - before[name] for name, p in model.named_parameters()}


def block():
    """The first forty rows of the first layer, and some of its biases."""
    return Block({"0.weight": torch.arange(40 * 90), "0.bias": torch.tensor([3, 5, 8])})


def inside(found):
    picked = block().gather(found)
    everything = torch.cat([found[name].flatten() for name in ("0.weight", "0.bias")])
    rest = everything[40 * 90 : 70 * 90], found["1.weight"].flatten()
    return picked, torch.cat(rest)


def gamma(m):
    """What is to be hidden: 2 M L² m² / (n² λ³)."""
    return 2 * M * L**2 * m**2 / (N**2 * L2**3)


def published(m):
    return gamma(m) / 0.3 * sqrt(2 * log(1.25 / 0.02))


@pytest.mark.parametrize(
    ("where", "in_block", "elsewhere"),
    [("block", True, False), ("complement", False, True), ("all", True, True)],
)
def test_noise_lies_only_where_it_was_asked(where, in_block, elsewhere):
    model = network()
    noise = replace(HEURISTIC, where=where)
    found = moved(model, lambda: noise.blur(model, block(), leaving=3, count=N))
    picked, rest = inside(found)
    for numbers, noisy in ((picked, in_block), (rest, elsewhere)):
        assert bool((numbers != 0).all()) is noisy
        assert bool((numbers == 0).all()) is not noisy
        if noisy:
            assert numbers.std().item() == pytest.approx(published(3), rel=0.05)
    assert not found["2.weight"].any()


def test_a_heuristic_is_told_with_its_sigma_and_its_reasons():
    report, model = Report(), network()
    found = moved(model, lambda: HEURISTIC.conclude(model, report, gone=GONE, count=N))
    assert not any(value.any() for value in found.values())
    (note,) = report.notes
    assert note.startswith("heuristic noise, no guarantee")
    assert f"(sigma {published(1):.3g} for a single sample)" in note
    assert note.endswith(": the moon must be full; and the sea calm")


def test_a_promise_adds_its_noise_once_and_for_all_who_left():
    report, model = Report(), network()
    found = moved(model, lambda: PROMISE.blur(model, block(), leaving=3, count=N))
    assert not any(value.any() for value in found.values())
    found = moved(model, lambda: PROMISE.conclude(model, report, gone=GONE, count=N))
    (note,) = report.notes
    sigma = float(note.partition("sigma ")[2].partition(" ")[0])
    s = sigma / (1.02 * gamma(GONE))  # two models may lie a hundredth off their optima
    leaked = norm.cdf(0.5 / s - 0.3 * s) - exp(0.3) * norm.cdf(-0.5 / s - 0.3 * s)
    assert leaked == pytest.approx(0.02, rel=0.02)
    drawn = torch.cat([found[name].flatten() for name in ("0.weight", "1.weight")])
    assert drawn.std().item() == pytest.approx(sigma, rel=0.05)
    assert (drawn != 0).all()


def test_a_promise_names_what_was_declared():
    report, model = Report(), network()
    PROMISE.conclude(model, report, gone=GONE, count=N)
    assert report.notes[0].startswith("assumption_declared: (0.3, 0.02) for 4 of 900 samples")
    for word in ("convex", f"{L}-Lipschitz", f"{M}-Lipschitz"):
        assert word in report.notes[0]


def test_a_promise_that_was_broken_on_the_way_keeps_its_noise_and_is_called_none():
    report, model = Report(), network()
    PROMISE.conclude(model, report, gone=GONE, count=N)
    sigma = report.notes.pop().partition("sigma ")[2].partition(" ")[0]
    shake = lambda: PROMISE.conclude(model, report, gone=GONE, count=N, but="it rained")  # noqa: E731
    assert moved(model, shake)["0.weight"].all()
    wanted = f"heuristic noise, no guarantee (sigma {sigma} on every number): it rained"
    assert report.notes == [wanted]


def test_the_noise_of_a_promise_cannot_be_drawn_again_from_any_seed():
    """Torch's generator takes 32 bits of a seed, which somebody could try one by one."""
    one, two = (network() for _ in range(2))
    two.load_state_dict(one.state_dict())
    state = torch.get_rng_state()
    for model in (one, two):
        torch.set_rng_state(state)
        PROMISE.conclude(model, Report(), gone=GONE, count=N)
        assert torch.equal(torch.get_rng_state(), state)
    assert (one[0].weight != two[0].weight).all()


def test_where_nobody_left_a_promise_needs_no_noise():
    report, model = Report(), network()
    found = moved(model, lambda: PROMISE.conclude(model, report, gone=0, count=N))
    assert not any(value.any() for value in found.values())
    assert "for 0 of 900 samples" in report.notes[0]


def test_without_epsilon_there_is_neither_noise_nor_note():
    report, model = Report(), network()
    for noise in (replace(HEURISTIC, epsilon=None), replace(PROMISE, epsilon=None)):
        for shake in (
            lambda noise=noise: noise.blur(model, block(), leaving=3, count=N),
            lambda noise=noise: noise.conclude(model, report, gone=GONE, count=N),
        ):
            assert not any(value.any() for value in moved(model, shake).values())
    assert report.notes == []
