"""Likelihood ratios of records against scipy, record by record, and against planted truths."""

import numpy as np
import pytest
import torch
from scipy import stats

from expunge.algebra.likelihoods import normal_ratio, standing, student_ratio
from expunge.algebra.statistics import auc

EVERY = [
    student_ratio,
    lambda *given: student_ratio(*given, prior="average"),
    normal_ratio,
    lambda *given: normal_ratio(*given, spread="pooled"),
    standing,
    lambda *given: standing(*given, tail="less"),
    lambda *given: standing(*given, tail="two", spread="record"),
]


def ragged(seed=0, k=7, n=11):
    """Every record has its own number of models on either side, two at least."""
    generator = torch.Generator().manual_seed(seed)
    trained = torch.rand(k, n, generator=generator) < 0.5
    trained[:2], trained[2:4] = True, False
    scores = torch.randn(k, n, generator=generator).double() * 2 + torch.arange(n) + 3 * trained
    return scores, trained, torch.randn(n, generator=generator).double() + torch.arange(n)


def lists(scores, on):
    """What is on one side, as one plain list a record."""
    return [column[rows].numpy() for column, rows in zip(scores.T, on.T, strict=True)]


def pooled(side):
    return sum(((x - x.mean()) ** 2).sum() for x in side) / sum(len(x) - 1 for x in side)


def test_normal_ratios_are_scipys_record_by_record():
    scores, trained, target = ragged()
    inside, outside = lists(scores, trained), lists(scores, ~trained)
    own = [
        stats.norm.logpdf(x, a.mean(), a.std()) - stats.norm.logpdf(x, b.mean(), b.std())
        for x, a, b in zip(target.numpy(), inside, outside, strict=True)
    ]
    of_all = [
        stats.norm.logpdf(x, a.mean(), pooled(inside) ** 0.5)
        - stats.norm.logpdf(x, b.mean(), pooled(outside) ** 0.5)
        for x, a, b in zip(target.numpy(), inside, outside, strict=True)
    ]
    assert normal_ratio(scores, trained, target).tolist() == pytest.approx(own)
    found = normal_ratio(scores, trained, target, spread="pooled")
    assert found.tolist() == pytest.approx(of_all)


def between(side):
    noise = pooled(side) * np.mean([1 / len(each) for each in side])
    return np.var([each.mean() for each in side]) - noise


def predictive(x, own, within, prior, variance):
    """Student's density after a conjugate update, from the sums of squares of textbooks."""
    k0 = within / variance
    k, nu = k0 + len(own), 6 + len(own)
    mean = (k0 * prior + own.sum()) / k
    squares = 6 * within + (own**2).sum() + k0 * prior**2 - k * mean**2
    return stats.t.logpdf(x, nu, mean, np.sqrt(squares / nu * (1 + 1 / k)))


def test_student_ratios_are_those_of_conjugate_updates_record_by_record():
    scores, trained, target = ragged(1)
    sides = [lists(scores, trained), lists(scores, ~trained)]
    told = [
        [
            predictive(x, own, pooled(side), np.concatenate(side).mean(), between(side))
            for x, own in zip(target.numpy(), side, strict=True)
        ]
        for side in sides
    ]
    wanted = np.subtract(*told).tolist()
    found = student_ratio(scores, trained, target, prior="average")
    assert found.tolist() == pytest.approx(wanted)


def test_a_record_is_expected_where_the_regression_on_its_other_side_puts_it():
    scores, trained, target = ragged(1)
    sides = [lists(scores, trained), lists(scores, ~trained)]
    means = [[own.mean() for own in side] for side in sides]
    common = np.cov(*means, bias=True)[0, 1]
    told = []
    for side, other in (sides, sides[::-1]):
        rows = []
        for x, own, across in zip(target.numpy(), side, other, strict=True):
            slope = common / (between(other) + pooled(other) / len(across))
            away = across.mean() - np.concatenate(other).mean()
            prior = np.concatenate(side).mean() + slope * away
            rows.append(predictive(x, own, pooled(side), prior, between(side) - slope * common))
        told.append(rows)
    assert common < 0.99 * np.sqrt(between(sides[0]) * between(sides[1]))
    wanted = np.subtract(*told).tolist()
    assert student_ratio(scores, trained, target).tolist() == pytest.approx(wanted)


def test_offline_scores_count_deviations_from_models_without_the_record():
    scores, trained, target = ragged(2)
    outside = lists(scores, ~trained)
    means = np.array([b.mean() for b in outside])
    z = (target.numpy() - means) / pooled(outside) ** 0.5
    assert standing(scores, trained, target).tolist() == pytest.approx(z.tolist())
    less = standing(scores, trained, target, tail="less").tolist()
    assert less == pytest.approx((-z).tolist())
    two = standing(scores, trained, target, tail="two", spread="record").tolist()
    own = np.abs(target.numpy() - means) / [b.std() for b in outside]
    assert two == pytest.approx(own.tolist())


def test_offline_scores_do_not_ask_models_that_know_the_record():
    scores, trained, target = ragged(3)
    other = torch.where(trained, scores * 100, scores)
    assert torch.equal(standing(scores, trained, target), standing(other, trained, target))


@pytest.mark.parametrize("spread", ["record", "pooled"])
def test_what_is_easy_for_all_models_is_no_sign_of_membership(spread):
    scores, trained, target = ragged(4)
    difficulty = 50 * torch.arange(11).double().cos()
    found = normal_ratio(scores + difficulty, trained, target + difficulty, spread=spread)
    torch.testing.assert_close(found, normal_ratio(scores, trained, target, spread=spread))


@pytest.mark.parametrize("method", EVERY)
def test_units_do_not_matter(method):
    scores, trained, target = ragged(5)
    found = method(scores * 37 - 12, trained, target * 37 - 12)
    torch.testing.assert_close(found, method(scores, trained, target))


@pytest.mark.parametrize("method", EVERY)
def test_several_targets_are_scored_as_each_alone(method):
    scores, trained, target = ragged(6)
    targets = torch.stack([target, target + 1, -target])
    together = method(scores, trained, targets)
    assert torch.equal(together, torch.stack([method(scores, trained, t) for t in targets]))


@pytest.mark.parametrize("method", EVERY)
def test_one_model_a_side_and_models_that_all_agree_give_finite_scores(method):
    scores, trained, target = ragged(7)
    pair = torch.stack([trained[0], ~trained[0]])
    mixed = torch.stack([trained[5], ~trained[5]])
    same = torch.ones_like(scores)
    assert method(scores[:2], mixed, target).isfinite().all()
    assert method(scores[:2], pair, target).isfinite().all()
    assert method(same, trained, target).isfinite().all()
    assert method(same, trained, torch.ones_like(target)).isfinite().all()
    assert method(same + torch.arange(11), trained, target).isfinite().all()


def test_with_one_pair_of_models_records_are_still_told_apart(world):
    planted = world(1, 3000, seed=1)
    given = planted.scores, planted.trained, planted.target
    by_all, _ = planted.caught(planted.target)
    for method in (student_ratio, normal_ratio, standing):
        assert planted.caught(method(*given))[0] > by_all + 0.04


@pytest.mark.parametrize("method", EVERY)
def test_records_that_no_model_of_a_side_knows_get_finite_scores(method):
    scores, trained, target = ragged(8)
    trained[:, 3], trained[:, 6] = True, False
    assert method(scores, trained, target).isfinite().all()


def test_what_cannot_be_compared_is_refused():
    scores, trained, target = ragged(9)
    with pytest.raises(ValueError, match="no model"):
        student_ratio(scores, torch.ones_like(trained), target)
    scores[1, 2] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        student_ratio(scores, trained, target)


@pytest.mark.parametrize(
    ("pairs", "one_line", "own", "of_all", "offline", "student"),
    [
        (2, (0.586, 0.032), (0.615, 0.015), (0.698, 0.069), (0.680, 0.070), (0.702, 0.082)),
        (4, (0.586, 0.026), (0.694, 0.044), (0.723, 0.094), (0.701, 0.070), (0.726, 0.109)),
        (16, (0.582, 0.025), (0.754, 0.138), (0.753, 0.135), (0.707, 0.088), (0.757, 0.145)),
        pytest.param(
            64,
            (0.581, 0.030),
            (0.765, 0.174),
            (0.757, 0.146),
            (0.710, 0.092),
            (0.766, 0.174),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_planted_records_are_caught_as_often_as_elsewhere(
    world, pairs, one_line, own, of_all, offline, student
):
    rows = []
    for seed in range(2):
        planted = world(pairs, 8000, seed=10 + seed)
        given = planted.scores, planted.trained, planted.target
        found = (
            planted.target,
            normal_ratio(*given),
            normal_ratio(*given, spread="pooled"),
            standing(*given),
            student_ratio(*given, prior="average"),
        )
        rows.append([planted.caught(each) for each in found])
    means = torch.tensor(rows).mean(0)
    wanted = torch.tensor([one_line, own, of_all, offline, student])
    assert (means - wanted)[:, 0].abs().max() < 0.012
    assert (means - wanted)[:, 1].abs().max() < 0.03


@pytest.mark.parametrize("pairs", [2, 4, 8])
def test_students_ratio_is_never_worse_than_normal_ones(world, pairs):
    worlds = [world(pairs, 4000, seed=20 + seed) for seed in range(3)]

    def mean(method, **spread):
        found = [w.caught(method(w.scores, w.trained, w.target, **spread))[0] for w in worlds]
        return sum(found) / len(found)

    best = max(mean(normal_ratio), mean(normal_ratio, spread="pooled"), mean(standing))
    assert mean(student_ratio) >= best - 0.005


@pytest.mark.parametrize(("pairs", "more"), [(2, 0.015), (4, 0.008), (64, -0.001)])
def test_what_the_other_side_says_of_a_record_helps_where_models_are_few(world, pairs, more):
    n = 8000 if pairs < 10 else 2000
    planted = world(pairs, n, seed=30)
    given = planted.scores, planted.trained, planted.target
    plain, _ = planted.caught(student_ratio(*given, prior="average"))
    assert planted.caught(student_ratio(*given))[0] >= plain + more


def test_many_models_make_students_ratio_the_true_one(world):
    planted = world(600, 60, seed=3)
    given = planted.scores, planted.trained, planted.target
    near = (student_ratio(*given) - normal_ratio(*given)).abs()
    true = (student_ratio(*given) - planted.truth).abs()
    assert near.median() < 0.02
    assert true.median() < 0.1


def test_known_difficulty_regains_what_one_threshold_loses():
    rng = torch.Generator().manual_seed(4)
    n = 40_000
    hard = 3 * torch.randn(n, generator=rng).double()
    member = torch.rand(n, generator=rng) < 0.5
    target = hard + member + torch.randn(n, generator=rng)
    shadows = hard + torch.randn(40, n, generator=rng)
    trained = torch.arange(40)[:, None].expand(40, n) % 2 == 0
    given = shadows + trained, trained, target
    whole = auc(target[member], target[~member]).value
    each = normal_ratio(*given, spread="pooled")
    assert whole == pytest.approx(0.5885, abs=0.007)
    assert auc(each[member], each[~member]).value == pytest.approx(0.7602, abs=0.012)
