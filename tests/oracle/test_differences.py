"""Differences to references: type-I error, power, sign, and what happens without variance."""

import pytest
import torch
from scipy import stats

from expunge.algebra.differences import (
    auc_difference,
    mean_difference,
    model_difference,
    rate_difference,
)
from expunge.algebra.statistics import auc, clopper_pearson


class World:
    """Scores of exchangeable models: every sample has its difficulty, every model its noise."""

    def __init__(self, seed, m=60, n=90):
        self.generator = torch.Generator().manual_seed(seed)
        self.member, self.nonmember = self.normal(m), self.normal(n)

    def normal(self, size):
        return torch.randn(size, generator=self.generator, dtype=torch.double)

    def model(self, bonus=0.0, wobble=0.0):
        lift = bonus + wobble * self.normal(1)
        member = self.member + 0.7 * self.normal(len(self.member)) + lift
        return member, self.nonmember + 0.7 * self.normal(len(self.nonmember))


def false_alarms(runs, references, *, wobble=0.0):
    found = 0
    for seed in range(runs):
        world = World(seed)
        others = [world.model(wobble=wobble) for _ in range(references)]
        difference = auc_difference(world.model(wobble=wobble), others)
        found += difference.p < 0.05
    return found / runs


@pytest.mark.parametrize(("runs", "references"), [(500, 2), (500, 3), (500, 5), (200, 20)])
def test_a_retrained_model_is_told_from_retrained_models_no_more_often_than_allowed(
    runs, references
):
    assert false_alarms(runs, references) <= 0.075


@pytest.mark.parametrize(("runs", "references"), [(500, 5), (200, 20)])
def test_models_that_differ_as_wholes_raise_no_more_false_alarms(runs, references):
    assert false_alarms(runs, references, wobble=0.25) <= 0.08


def test_a_model_that_remembers_is_found_and_its_difference_has_the_right_sign():
    found = 0
    for seed in range(60):
        world = World(seed)
        references = [world.model() for _ in range(5)]
        difference = auc_difference(world.model(bonus=0.8), references)
        found += difference.p < 0.05 and difference.interval.low > 0
    assert found >= 54


def test_a_model_that_was_pushed_too_far_is_found_below():
    world = World(3)
    difference = auc_difference(world.model(bonus=-1.5), [world.model() for _ in range(5)])
    assert difference.interval.high < 0
    assert difference.p < 0.001


def test_the_difference_is_that_of_the_areas():
    world = World(4)
    candidate, references = world.model(bonus=0.4), [world.model() for _ in range(3)]
    usual = sum(auc(*scores).value for scores in references) / 3
    found = auc_difference(candidate, references).interval
    assert found.value == pytest.approx(auc(*candidate).value - usual, abs=1e-12)
    assert found.low < found.value < found.high


def test_a_model_does_not_differ_from_itself():
    world = World(5)
    scores = world.model()
    found = auc_difference(scores, [scores] * 3)
    assert found.interval.value == pytest.approx(0, abs=1e-12)
    assert found.interval.high - found.interval.low < 1e-12


def test_the_same_scores_give_the_same_difference():
    first, second = (
        auc_difference(world.model(0.2), [world.model() for _ in range(4)])
        for world in (World(6), World(6))
    )
    assert first == second


@pytest.mark.parametrize(("m", "n"), [(1, 90), (60, 1)])
def test_a_single_sample_leaves_no_variance_to_estimate(m, n):
    world = World(7, m, n)
    assert auc_difference(world.model(), [world.model()]) is None


def hits(right, n):
    return torch.tensor([1.0] * right + [0.0] * (n - right), dtype=torch.double)


@pytest.mark.parametrize("right", [0, 40])
def test_rates_without_variance_still_have_an_interval(right):
    found = rate_difference(hits(right, 40), [hits(right, 40)] * 5)
    assert found.interval.value == 0
    assert found.interval.low < -0.05
    assert found.interval.high > 0.05
    assert found.p == pytest.approx(1)


def test_square_and_add_is_worked_out_by_hand_for_references_that_agree():
    own, theirs = clopper_pearson(30, 50), clopper_pearson(20, 50)
    low = 0.2 - ((0.6 - own.low) ** 2 + (theirs.high - 0.4) ** 2) ** 0.5
    high = 0.2 + ((own.high - 0.6) ** 2 + (0.4 - theirs.low) ** 2) ** 0.5
    found = rate_difference(hits(30, 50), [hits(20, 50)] * 2).interval
    assert (found.value, found.low, found.high) == pytest.approx((0.2, low, high))


@pytest.mark.parametrize(("own", "theirs", "sign"), [(80, 0, 1), (0, 80, -1)])
def test_rates_at_the_two_ends_are_told_apart(own, theirs, sign):
    found = rate_difference(hits(own, 80), [hits(theirs, 80)] * 3)
    assert found.interval.value == sign
    assert sign * found.interval.low > 0
    assert sign * found.interval.high > 0
    assert found.p < 1e-6


def test_eighty_test_samples_are_enough_to_show_five_points_and_seventy_are_not():
    assert rate_difference(hits(0, 110), [hits(0, 110)] * 5).interval.high <= 0.05
    assert rate_difference(hits(0, 70), [hits(0, 70)] * 5).interval.high > 0.05


def test_references_that_differ_among_themselves_widen_the_interval():
    calm = rate_difference(hits(20, 60), [hits(20, 60)] * 4).interval
    wild = rate_difference(hits(20, 60), [hits(k, 60) for k in (2, 14, 26, 38)]).interval
    assert wild.high - wild.low > calm.high - calm.low


def test_the_p_value_of_a_rate_and_its_interval_agree():
    for right in range(0, 61, 5):
        found = rate_difference(hits(right, 60), [hits(30, 60)] * 3)
        assert (found.p < 0.05) == (found.interval.low > 0 or found.interval.high < 0), right


def test_means_are_compared_sample_by_sample():
    generator = torch.Generator().manual_seed(8)
    difficulty = 10 * torch.rand(50, generator=generator, dtype=torch.double)
    noise = 0.01 * torch.randn(50, generator=generator, dtype=torch.double)
    found = mean_difference(difficulty + 0.1 + noise, [difficulty] * 2)
    assert found.interval.value == pytest.approx(0.1, abs=0.01)
    assert found.interval.high - found.interval.low < 0.01
    assert found.p < 1e-6


def test_the_spread_of_references_bounds_what_a_mean_can_show():
    base = torch.linspace(0, 1, 40, dtype=torch.double)
    found = mean_difference(base + 0.1, [base - 0.5, base, base + 0.5])
    half = stats.t.ppf(0.975, 2) * 0.5 * (1 + 1 / 3) ** 0.5  # two degrees of freedom: three models
    assert found.interval.low == pytest.approx(0.1 - half)
    assert found.interval.high == pytest.approx(0.1 + half)
    assert found.p > 0.5


def test_a_single_value_has_no_paired_difference():
    assert mean_difference(torch.ones(1), [torch.zeros(1)] * 3) is None


def test_one_reference_cannot_show_how_much_retraining_varies():
    world = World(9)
    assert auc_difference(world.model(), [world.model()]) is None
    assert rate_difference(hits(3, 9), [hits(2, 9)]) is None
    assert mean_difference(torch.rand(9), [torch.rand(9)]) is None


def test_perfect_separation_of_few_samples_is_no_certainty():
    member, nonmember = torch.tensor([9.0, 8.0]), torch.arange(5.0)
    weak = (nonmember[:2] - 1, nonmember)
    found = auc_difference((member, nonmember), [weak] * 3)
    assert found.interval.high - found.interval.low > 0.2


@pytest.mark.parametrize(("m", "n"), [(400, 4), (4, 400)])
def test_few_samples_on_either_side_raise_no_more_false_alarms(m, n):
    alarms = 0
    for seed in range(300):
        world = World(seed, m, n)
        found = auc_difference(world.model(), [world.model() for _ in range(5)])
        alarms += found.p < 0.05 and not found.interval.low <= 0 <= found.interval.high
    assert alarms / 300 <= 0.08


def test_two_copies_of_one_sample_are_no_certainty():
    generator = torch.Generator().manual_seed(0)
    others = [torch.randn(200, generator=generator, dtype=torch.float64) for _ in range(6)]
    copies = [
        torch.full((2,), value, dtype=torch.float64) for value in (1.5, 1.4, 1.6, 1.5, 1.3, 1.4)
    ]
    mine, *theirs = zip(copies, others, strict=True)
    found = auc_difference(mine, theirs).interval
    assert found.high - found.low > 0.3
    apart = [torch.tensor([value, value + 1e-3], dtype=torch.float64) for value in (3.0, 1.0, 1.1)]
    told = auc_difference((apart[0], others[0]), [*zip(apart[1:], others[1:3], strict=True)])
    assert told.interval.high - told.interval.low > 0.1


def test_what_sets_the_width_is_named():
    world = World(10)
    calm = auc_difference(world.model(), [world.model() for _ in range(5)])
    wild = auc_difference(world.model(), [world.model(wobble=3.0) for _ in range(5)])
    assert (calm.limit, wild.limit) == ("samples", "models")


def runs_of_models(count, seed, runs=5):
    """Steps of several runs: models differ, draws are hard or easy for all of them alike."""
    draw = torch.Generator().manual_seed(seed)
    model = 0.15 * torch.randn(count, 1, generator=draw).double()
    hard, chance = (torch.randn(size, runs, generator=draw).double() for size in (1, count))
    return list((4 + model + 0.2 * hard + 0.2 * chance).exp())


@pytest.mark.parametrize("references", [2, 5, 20])
def test_repetitions_are_no_models_and_raise_no_false_alarms(references):
    found = [runs_of_models(references + 1, seed) for seed in range(1000)]
    alarms = sum(model_difference(own, theirs).p < 0.05 for own, *theirs in found) / 1000
    assert 0.02 < alarms < 0.07


def test_a_difference_of_models_is_students_prediction_of_one_more():
    own, *theirs = runs_of_models(5, 0)
    found, means = model_difference(own, theirs), torch.stack(theirs).mean(1)
    t = (own.mean() - means.mean()) / (means.std() * (1 + 1 / 4) ** 0.5)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t.item()), 3))
    half = stats.t.ppf(0.975, 3) * means.std().item() * (5 / 4) ** 0.5
    assert found.interval.high - found.interval.value == pytest.approx(half)
    assert found.limit == "models"


def test_more_repetitions_do_not_make_a_difference_of_models_surer():
    own, *theirs = runs_of_models(4, 1)
    once, often = (
        model_difference(own.repeat(k), [each.repeat(k) for each in theirs]) for k in (1, 50)
    )
    assert once.p == pytest.approx(often.p)


def test_models_that_do_not_differ_at_all_tell_nothing_about_chance():
    same = torch.full((3,), 400.0)
    assert model_difference(torch.zeros(3), [same, same, same]) is None
    assert model_difference(torch.zeros(3), [same]) is None
