"""CODEC and FOCI against the double loops of their definition, and against worked values."""

import pytest
import torch

from expunge.algebra.dependence import Selection, codec, foci


def drawn(seed):
    return torch.Generator().manual_seed(seed)


def neighbour(columns, i):
    """The first of the nearest others, looking around the circle from ``i``."""
    n = len(columns[0])

    def apart(j):
        total = 0.0
        for column in columns:
            gap = column[i] - column[j]
            total += gap * gap
        return total

    return min(((i + step) % n for step in range(1, n)), key=apart)


def shuffled(y, x, seed):
    """Lists of numbers in the random order in which the rows stand on the circle."""
    order = torch.randperm(len(y), generator=drawn(seed))
    return y[order].double().tolist(), x[order].double().T.tolist()


def plainly(y, columns, given=()):
    """The estimate as it is defined, of some columns given others."""
    n = len(y)
    ranks = [sum(b <= a for b in y) for a in y]
    above = [sum(b >= a for b in y) for a in y]

    def told(by):
        return [min(ranks[i], ranks[neighbour(by, i)]) for i in range(n)]

    together = told([*given, *columns])
    if not given:
        found = sum(n * a - b * b for a, b in zip(together, above, strict=True))
        return found / sum(a * (n - a) for a in above)
    before = told(given)
    left = sum(ranks) - sum(before)
    return (sum(together) - sum(before)) / left if left else 0.0


def every_column_tried(y, columns):
    """FOCI without a shortcut."""
    chosen, scores = [], []
    while len(chosen) < len(columns):
        left = [j for j in range(len(columns)) if j not in chosen]
        given = [columns[j] for j in chosen]
        tried = [plainly(y, [columns[j]], given) for j in left]
        if chosen and max(tried) <= 0:
            break
        chosen.append(left[tried.index(max(tried))])
        scores.append(max(tried))
    return Selection(tuple(chosen), tuple(scores))


def continuous(n, p, seed):
    x = torch.randn(n, p, generator=drawn(seed), dtype=torch.double)
    return x, x[:, 0] * x[:, 1] + x[:, 2].abs()


def discrete(n, p, seed):
    x = torch.randint(0, 3, (n, p), generator=drawn(seed)).double()
    return x, (x[:, 0] + 2 * x[:, 1] > 3).double() + x[:, 2]


def binary(n, p, seed):
    x = torch.randint(0, 2, (n, p), generator=drawn(seed)).double()
    return x, torch.where(x[:, 3] > 0, x[:, 0], x[:, 1])


def duplicated(n, p, seed):
    x, y = continuous(n, p, seed)
    again = torch.randint(0, n // 3, (n,), generator=drawn(seed))
    return x[again], y[again] + torch.arange(n) % 2


def mixed(n, p, seed):
    x, y = continuous(n, p, seed)
    x[:, 1::2] = x[:, 1::2].round()
    x[:, -1] = 7.0
    return x, y.round()


def correlated(n, p, seed):
    x, y = continuous(n, p, seed)
    return x @ torch.randn(p, p, generator=drawn(seed + 1), dtype=torch.double), y


def unlike(n, p, seed):
    """Huge and tiny numbers side by side, so that different values round to one distance."""
    x, y = continuous(n, p, seed)
    x[: n // 2] *= 1e-20
    x[:, 1] *= 1e-170
    x[:, 2] = 1 + x[:, 2].sign() * 2.0**-52
    x[:, 3] = x[:, 3].sign() * 1e-170
    return x, y


KINDS = [continuous, discrete, binary, duplicated, mixed, correlated, unlike]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "p", "seeds"), [(9, 5, 9), (31, 6, 3), (83, 5, 1)])
def test_the_selection_is_that_of_trying_every_column_in_full(kind, n, p, seeds):
    for seed in range(seeds):
        x, y = kind(n, p, seed)
        found = foci(x, y, generator=drawn(seed))
        assert found == every_column_tried(*shuffled(y, x, seed))


@pytest.mark.parametrize("kind", KINDS)
def test_giving_candidates_up_early_never_costs_the_best(kind, monkeypatch):
    monkeypatch.setattr("expunge.algebra.neighbours._FEW", 2)
    monkeypatch.setattr("expunge.algebra.neighbours._GROWTH", 2)
    monkeypatch.setattr("expunge.algebra.neighbours._HELD", 50)
    monkeypatch.setattr("expunge.algebra.dependence._TOGETHER", 1)
    for seed in range(3):
        x, y = kind(23, 11, seed)
        found = foci(x, y, generator=drawn(seed))
        assert found == every_column_tried(*shuffled(y, x, seed))


@pytest.mark.parametrize("kind", KINDS)
def test_the_coefficient_is_that_of_the_definition(kind):
    x, y = kind(41, 5, 3)
    rows, columns = shuffled(y, x, 8)
    found = [
        codec(y, x[:, 1], generator=drawn(8)),
        codec(y, x[:, :2], generator=drawn(8)),
        codec(y, x[:, 0], x[:, 3], generator=drawn(8)),
        codec(y, x[:, 2:4], x[:, :2], generator=drawn(8)),
    ]
    assert found == [
        plainly(rows, columns[1:2]),
        plainly(rows, columns[:2]),
        plainly(rows, columns[:1], columns[3:4]),
        plainly(rows, columns[2:4], columns[:2]),
    ]


def test_the_coefficients_of_a_sum_modulo_one_are_the_known_ones():
    x = torch.rand(10_000, 2, generator=drawn(0), dtype=torch.double)
    y = x.sum(1) % 1
    assert codec(y, x[:, 1]) == pytest.approx(0, abs=0.03)  # three deviations of the estimate
    assert codec(y, x) == pytest.approx(0.973, abs=0.004)
    assert codec(y, x[:, 0], x[:, 1]) == pytest.approx(0.972, abs=0.006)


@pytest.mark.parametrize(("jitter", "most"), [(0.0, 1.0), (0.001, 0.5), (0.01, 0.5), (0.1, 0.5)])
@pytest.mark.parametrize("wrong", [0.0, (1 - 0.5**0.5) / 2])
def test_a_bit_is_told_by_its_copy_and_not_by_a_foreign_one(jitter, most, wrong):
    draw = drawn(1)
    a, b, c = torch.randint(0, 2, (3, 4000), generator=draw).double()
    noisy = torch.where(torch.rand(4000, generator=draw) < wrong, 1 - a, a)
    share = most * (1 - 4 * wrong * (1 - wrong))  # of variance; half of y's order is jitter, if any
    kept = {"jitter": jitter, "generator": draw}
    assert codec(a, noisy, **kept) == pytest.approx(share, abs=0.05)
    assert codec(a, noisy, b, **kept) == pytest.approx(share, abs=0.05)
    assert codec(a, c, b, **kept) == pytest.approx(0, abs=0.05)


def expected(y, z):
    """The mean of the coefficient over all ways to break its ties, from the definition."""
    n, apart = len(y), (z[:, None] - z).abs()
    ranks = (y <= y[:, None]).sum(1).double()
    above = (y >= y[:, None]).sum(1).double()
    apart.fill_diagonal_(torch.inf)
    tied = (apart == apart.min(1, keepdim=True).values).double()
    told = (tied * torch.minimum(ranks, ranks[:, None])).sum(1) / tied.sum(1)
    return ((n * told - above**2).sum() / (above * (n - above)).sum()).item()


@pytest.mark.parametrize("kind", [discrete, binary, duplicated])
def test_ties_are_broken_uniformly(kind):
    x, y = kind(27, 5, 2)
    found = [codec(y, x[:, 0], generator=drawn(seed)) for seed in range(300)]
    mean, deviation = torch.tensor(found).mean(), torch.tensor(found).std()
    assert deviation > 0
    assert abs(mean - expected(y, x[:, 0])) < 3.5 * deviation / 300**0.5


def test_rows_that_are_alike_do_not_all_have_one_neighbour():
    y, z = torch.arange(50).double(), torch.zeros(50, dtype=torch.double)
    found = torch.tensor([codec(y, z, generator=drawn(seed)) for seed in range(200)])
    assert found.std() < 2 / 50**0.5  # one neighbour for all would give a deviation of about 1
    assert found.mean().abs() < 0.05


def test_the_order_of_the_rows_does_not_matter():
    x, y = correlated(120, 7, 0)
    order = torch.randperm(120, generator=drawn(5))
    assert foci(x, y) == foci(x[order], y[order])
    assert codec(y, x[:, 1:3], x[:, 0]) == codec(y[order], x[order, 1:3], x[order, 0])


def test_every_score_is_the_coefficient_given_the_features_before():
    x = torch.randn(200, 9, generator=drawn(1), dtype=torch.double)
    y = x[:, 2] + x[:, 5].exp() - 2 * x[:, 7]
    found = foci(x, y)
    assert {*found.selected} >= {2, 5, 7}
    for step, (chosen, score) in enumerate(zip(found.selected, found.scores, strict=True)):
        given = x[:, list(found.selected[:step])] if step else None
        assert score == codec(y, x[:, chosen], given)


def test_only_what_shields_the_outcome_from_all_else_is_chosen():
    a, b, *foreign = torch.randn(6, 700, generator=drawn(4), dtype=torch.double)
    x = torch.stack([a + 0.5 * foreign[0], b.round(), *foreign[1:], a, b], 1)
    assert foci(x, a.exp() + b).selected == (5, 6)


def test_a_spouse_is_found_though_alone_it_tells_nothing():
    y, spouse, *foreign = torch.randn(5, 700, generator=drawn(3), dtype=torch.double)
    child = y + spouse
    assert codec(y, spouse) == pytest.approx(0, abs=0.1)
    assert codec(y, spouse, child) > 0.9
    x = torch.stack([*foreign, spouse, child + foreign[0], child], 1)
    assert foci(x, y).selected == (5, 3)


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_a_column_that_never_changes_tells_nothing_beyond_others(value):
    x, y = continuous(60, 4, 0)
    constant = torch.full((60, 1), value, dtype=torch.double)
    assert codec(y, constant, x) == 0
    assert codec(y, constant[:, 0], x[:, 0]) == 0
    assert foci(torch.cat([constant, x, constant], 1), y).selected == tuple(
        j + 1 for j in foci(x, y).selected
    )


def test_of_columns_that_tell_the_same_the_first_is_chosen():
    x, y = continuous(90, 4, 1)
    one, again = foci(x, y), foci(torch.cat([x, x], 1), y)
    assert one.selected == again.selected[: len(one.selected)]
    assert foci(torch.ones(8, 3), y[:8]).selected == (0,)


def test_nothing_is_left_to_tell_about_what_is_known():
    x, y = binary(200, 5, 0)
    assert foci(x, y, generator=drawn(0)).scores[-1] == 1
    assert {*foci(x, y, generator=drawn(0)).selected} >= {0, 1, 3}
    assert codec(y, x[:, 1], torch.stack([x[:, 0], x[:, 1], x[:, 3]], 1)) == 0
