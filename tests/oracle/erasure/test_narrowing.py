"""Narrowed erasures: what tells the classes stays, the widest besides, and nothing else."""

import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.nn import functional as F

from expunge.algebra.erasure import Moments, columns, erase, narrow

N, D, K, C = 900, 17, 3, 4  # samples, features, groups and classes
TOLD = (K - 1) * C  # directions that tell the groups
LEFT = D - TOLD


def count(x, z, y):
    moments = Moments(C)
    moments.add(x, columns(z, K), y)
    return moments


@pytest.fixture
def people():
    """Features of all widths that tell the class and, inside it, the group."""
    generator = torch.Generator().manual_seed(0)
    z, y = (torch.randint(many, (N,), generator=generator) for many in (K, C))
    means = torch.randn(C, K, D, generator=generator).double()
    noise = torch.randn(N, D, generator=generator).double() * 1.5 ** -torch.arange(D)
    turned, _ = torch.linalg.qr(torch.randn(D, D, generator=generator).double())
    return noise @ turned + 0.3 * means[y, z] + 5, z, y


@pytest.fixture
def thin(people):
    """Classes differ along the narrowest direction, and there alone; no group shows in it."""
    x, z, y = people
    wide, cell = x[:, : D - 1].clone(), F.one_hot(y * K + z, K * C).double()
    for c in range(C):
        wide[y == c] -= wide[y == c].mean(0)
    told = torch.cat([wide, cell], 1)
    noise = torch.randn(N, 1, generator=torch.Generator().manual_seed(1)).double()
    noise -= told @ torch.linalg.lstsq(told, noise, driver="gelsd").solution
    apart = 0.01 * (noise / noise.std() + 3 * y[:, None])
    turned = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(2)).double())
    return torch.cat([wide, apart], 1) @ turned[0], z, y


@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_linear_discriminant_says_the_same_though_classes_differ_where_it_is_narrowest(
    thin, most
):
    x, z, y = thin
    moments = count(x, z, y)
    edit = erase(moments)
    erased, kept = edit(x), narrow(moments, edit, most)(x)

    def said(features):
        return LinearDiscriminantAnalysis().fit(features, y).predict(features)

    assert (said(erased) == y.numpy()).mean() > 0.85
    assert (said(kept) == said(erased)).all()


@pytest.mark.parametrize("most", [0, 2])
def test_a_discriminant_that_trusts_no_narrow_direction_scores_everybody_the_same(people, most):
    x, z, y = people
    moments = count(x, z, y)
    edit = erase(moments)
    erased, kept = edit(x), narrow(moments, edit, most)(x)

    def parts(features):
        means = torch.stack([features[y == c].mean(0) for c in range(C)])
        apart = features - means[y]
        return apart.T @ apart / N, means - features.mean(0)

    doubt = 1e-3 * parts(erased)[0].diagonal().mean() * torch.eye(D)

    def scores(features):
        within, means = parts(features)
        return (features - features.mean(0)) @ torch.linalg.solve(within + doubt, means.T)

    assert (scores(erased).argmax(1) == y).double().mean() > 0.5
    torch.testing.assert_close(scores(kept), scores(erased), atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("most", [0, 1, 4])
def test_what_is_kept_is_what_tells_the_classes_and_the_widest_of_the_rest(people, most):
    x, z, y = people
    moments = count(x, z, y)
    edit = erase(moments)
    found = narrow(moments, edit, most)
    assert torch.linalg.matrix_rank(found.matrix, rtol=1e-9) == C - 1 + most
    assert found.lost - edit.lost == LEFT - (C - 1) - most
    erased, bare = edit(x) - x.mean(0), narrow(moments, edit, 0)(x) - x.mean(0)
    _, _, axes = torch.linalg.svd(erased - bare, full_matrices=False)
    wanted = bare + (erased - bare) @ axes[:most].T @ axes[:most]
    torch.testing.assert_close(found(x) - x.mean(0), wanted, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("most", [0, 3])
def test_no_affine_probe_reads_the_group_afterwards(people, logistic, most):
    x, z, y = people
    moments = count(x, z, y)
    after = narrow(moments, erase(moments), most)(x)
    for c in range(C):
        mine = y == c
        shares = z[mine].bincount() / mine.sum()
        assert logistic(x[mine], z[mine])[0] < torch.special.entr(shares).sum() - 0.2
        assert logistic(after[mine], z[mine])[0] == pytest.approx(
            torch.special.entr(shares).sum().item(), abs=1e-6
        )


@pytest.mark.parametrize("most", [LEFT - (C - 1), LEFT, D + 5])
def test_who_may_keep_all_loses_nothing_more(people, most):
    x, z, y = people
    moments = count(x, z, y)
    edit = erase(moments)
    found = narrow(moments, edit, most)
    assert found.lost == edit.lost
    torch.testing.assert_close(found(x), edit(x), atol=1e-9, rtol=0)


def test_of_one_class_nothing_is_lost_for_nobody_knows_what_tells_it(people):
    x, z, y = people
    moments = count(x, z, 0 * y + 2)
    edit = erase(moments)
    assert narrow(moments, edit, 0) is edit


def test_a_class_of_nobody_tells_no_direction(people):
    x, z, y = people
    rows = y != 1
    moments = count(x[rows], z[rows], y[rows])
    found = narrow(moments, erase(moments), 1)
    assert torch.linalg.matrix_rank(found.matrix, rtol=1e-9) == (C - 1) - 1 + 1


def test_what_an_edit_holds_is_held_when_few_directions_are_kept(people):
    x, z, y = people
    x[:, 2] = 3.0
    moments = count(x, z, y)
    found = narrow(moments, erase(moments), 2)(x)
    assert found[:, 2].unique().tolist() == [3.0]


def test_where_all_is_held_there_is_nothing_to_keep(people):
    x, z, y = people
    moments = count(x, z, y)
    moments.hold(torch.ones(D, dtype=torch.bool))
    found = narrow(moments, erase(moments), 2)(x)
    torch.testing.assert_close(found, x.mean(0).expand(N, D))
