"""Erasure in closed form: what no affine probe can read any more, and how little else is lost."""

from math import log

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F

from expunge.algebra.erasure import Map, Moments, columns, erase, narrow, project
from expunge.algebra.information import Prior

N, D, K, C = 900, 7, 3, 2
WAYS = pytest.mark.parametrize("way", [erase, project])


def world(seed=0, n=N):
    """Features that tell a group by their means, and a class that goes with the group."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randint(K, (n,), generator=generator)
    y = ((z + torch.randint(4, (n,), generator=generator)) > 2).long()
    mixing = torch.randn(D, D, generator=generator).double()
    means = torch.randn(C, K, D, generator=generator).double()
    x = torch.randn(n, D, generator=generator).double() @ mixing + 2 * means[y, z] + 5
    return x, z, y


def counted(x, z, y=None, groups=K):
    moments = Moments(1 if y is None else C)
    moments.add(x, columns(z, groups), torch.zeros_like(z) if y is None else y)
    return moments


def covariance(x, z):
    return (x - x.mean(0)).T @ (z - z.mean(0)) / len(x)


def logistic(x, z, strength=1e6):
    """What a probe pays that scales what it reads, and the largest of its weights."""
    apart = x.double() - x.double().mean(0)
    scale = apart.std(0)
    rows = (apart / scale.where(scale > 1e-15 * x.abs().amax(0), 1.0)).numpy()
    fitted = LogisticRegression(C=strength, tol=1e-10, max_iter=5000).fit(rows, z.numpy())
    told = torch.from_numpy(fitted.predict_log_proba(rows))
    return F.nll_loss(told, z).item(), abs(fitted.coef_).max()


@WAYS
def test_no_affine_probe_beats_the_frequencies_on_the_samples_counted(way):
    x, z, _ = world()
    entropy = Prior.of(z, z * 0, groups=K).entropy
    after = way(counted(x, z))(x)
    assert covariance(after, columns(z, K)).abs().max() < 1e-10
    rows = torch.cat([after, torch.ones(N, 1)], 1)
    line = rows @ torch.linalg.lstsq(rows, columns(z, K), driver="gelsd").solution
    torch.testing.assert_close(line, columns(z, K).mean(0).expand(N, K), atol=1e-9, rtol=0)
    assert logistic(x, z)[0] < entropy - 0.2
    loss, weight = logistic(after, z)
    assert loss == pytest.approx(entropy, abs=1e-6)
    assert weight < 1e-3


@WAYS
def test_inside_each_class_no_affine_probe_beats_the_frequencies_of_the_class(way):
    x, z, y = world()
    after = way(counted(x, z, y))(x)
    for mine in (y == 0, y == 1):
        entropy = Prior.of(z[mine], z[mine] * 0, groups=K).entropy
        assert logistic(x[mine], z[mine])[0] < entropy - 0.2
        assert logistic(after[mine], z[mine])[0] == pytest.approx(entropy, abs=1e-6)


def test_inside_each_class_all_groups_have_the_mean_of_the_class_where_the_map_sends_it():
    x, z, y = world()
    edit = erase(counted(x, z, y))
    after = edit(x)
    torch.testing.assert_close(after.mean(0), x.mean(0))
    for label in range(C):
        centre = edit(x[y == label].mean(0, keepdim=True))[0]
        for group in range(K):
            mine = after[(y == label) & (z == group)].mean(0)
            torch.testing.assert_close(mine, centre, atol=1e-9, rtol=0)
    assert (after[y == 0].mean(0) - after[y == 1].mean(0)).norm() > 0.1


def test_a_class_that_depends_on_nothing_else_keeps_its_means():
    """The class is told along one axis, the group along others: the first must not move."""
    x, z, y = world()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(N, D, generator=generator).double()
    x[:, :K] += 3 * columns(z, K)
    x[:, D - 1] += 4 * y
    for label in range(C):  # independent of the group inside each class, exactly
        mine = y == label
        told = torch.cat([columns(z[mine], K), x[mine][:, : D - 1]], 1)
        x[mine, D - 1] -= told @ torch.linalg.lstsq(told, x[mine, D - 1]).solution - 4 * label
    after = erase(counted(x, z, y))(x)
    for label in range(C):
        shift = (after[y == label] - x[y == label]).mean(0)
        assert shift[D - 1].abs() < 1e-9
    assert after[y == 1, D - 1].mean() - after[y == 0, D - 1].mean() == pytest.approx(4)


def closed_form(x, z, about):
    """The minimiser by Lagrange's rule: no whitening, no projection."""
    apart = x - about
    s, bend = covariance(x, z), apart.T @ apart / len(x)
    solved = torch.linalg.solve(bend, s)
    return torch.eye(D).double() - s @ torch.linalg.pinv(s.T @ solved, rtol=1e-9) @ solved.T


def test_the_edit_is_the_smallest_by_lagranges_rule():
    x, z, _ = world()
    want = closed_form(x, columns(z, K), x.mean(0))
    edit = erase(counted(x, z))
    torch.testing.assert_close(edit.matrix, want, atol=1e-8, rtol=0)
    torch.testing.assert_close(edit.bias, x.mean(0) - want @ x.mean(0), atol=1e-8, rtol=0)


@pytest.mark.parametrize("inside", [False, True])
def test_no_other_map_that_erases_moves_the_samples_less(inside):
    x, z, y = world()
    moments = counted(x, z, y if inside else None)
    edit, straight = erase(moments), project(moments)
    apart = x - (torch.stack([x[y == c].mean(0) for c in range(C)])[y] if inside else x.mean(0))

    def moved(matrix):
        return (apart @ (matrix - torch.eye(D)).T).square().sum(1).mean()

    shared = moments.shared
    free = torch.eye(D).double() - shared @ torch.linalg.pinv(shared, rtol=1e-9)
    least, generator = moved(edit.matrix), torch.Generator().manual_seed(2)
    for _ in range(50):
        push = torch.randn(D, D, generator=generator).double() @ free
        assert (push @ shared).abs().max() < 1e-9  # it erases as well
        assert moved(edit.matrix + 1e-3 * push) > least
        assert moved(edit.matrix - 1e-3 * push) > least
    assert moved(straight.matrix) > 1.05 * least


@WAYS
def test_what_is_erased_is_no_more_than_the_groups_need(way):
    x, z, y = world()
    assert way(counted(x, z)).lost == K - 1
    assert way(counted(x, z, y)).lost == (K - 1) * C
    edit = way(counted(x, z, y))
    torch.testing.assert_close(edit(edit(x)), edit(x))


def test_an_attribute_coded_by_the_parity_of_two_signs_survives():
    generator = torch.Generator().manual_seed(3)
    signs = torch.cartesian_prod(torch.tensor([-1.0, 1]), torch.tensor([-1.0, 1])).repeat(500, 1)
    z = (signs.prod(1) > 0).long()
    told = z[:, None] + torch.randn(2000, 1, generator=generator)  # and by a mean of its own
    x = torch.cat([signs, told, torch.randn(2000, 2, generator=generator)], 1).double()
    edit = erase(counted(x, z, groups=2))
    after = edit(x)
    assert edit.lost == 1
    assert logistic(after, z)[0] == pytest.approx(log(2), abs=1e-6)
    assert torch.equal((after[:, 0] * after[:, 1] > 0).long(), z)


def test_batches_add_up_and_large_offsets_cost_no_digits():
    x, z, y = world()
    whole = erase(counted(x, z, y))
    pieces = Moments(C)
    for rows in torch.arange(N).split(64):
        pieces.add(x[rows] + 1e5, columns(z[rows], K), y[rows])
    found = erase(pieces)
    torch.testing.assert_close(found.matrix, whole.matrix, atol=1e-6, rtol=0)
    torch.testing.assert_close(found(x + 1e5), whole(x) + 1e5, atol=1e-6, rtol=0)


def test_missing_answers_are_left_out_and_their_features_still_count():
    x, z, y = world()
    some = torch.where(torch.arange(N) % 3 == 0, -1, z)
    seen = some >= 0
    moments = counted(x, some, y)
    after = erase(moments)(x)
    for label in range(C):
        mine = seen & (y == label)
        assert covariance(after[mine], columns(z[mine], K)).abs().max() < 1e-9
    torch.testing.assert_close(moments.mean, x.mean(0))
    centred = x - torch.stack([x[y == label].mean(0) for label in range(C)])[y]
    torch.testing.assert_close(moments.within, centred.T @ centred / N)


def test_several_attributes_and_numbers_go_together():
    x, z, _ = world()
    age = 40 + 9 * x[:, 0] + 2 * x[:, 3] ** 2
    age[::4] = torch.nan
    moments, one = Moments(), torch.zeros_like(z)
    moments.add(x, torch.cat([columns(z, K), age[:, None]], 1), one)
    edit = erase(moments)
    known = ~age.isnan()
    assert edit.lost == K
    assert covariance(edit(x)[known], age[known, None]).abs().max() < 1e-8
    assert covariance(edit(x), columns(z, K)).abs().max() < 1e-10


@WAYS
@pytest.mark.parametrize("fill", ["constant", "label", "nobody"])
def test_where_nothing_is_told_beyond_the_class_nothing_is_changed(way, fill):
    x, z, y = world()
    attribute = {"constant": z * 0 + 1, "label": y, "nobody": z * 0 - 1}[fill]
    edit = way(counted(x, attribute, y))
    assert edit.lost == 0
    torch.testing.assert_close(edit.matrix, torch.eye(D).double())
    assert edit.bias.abs().max() < 1e-12


def hard(x, z):
    """Features as networks make them, each hard to erase from in its own way."""
    generator = torch.Generator().manual_seed(4)
    few = F.one_hot(torch.arange(N), N)[:, :5].sum(1, keepdim=True) * x[:, :1]
    nearly = (8 + columns(z, K)[:, :2] + torch.randn(N, 2, generator=generator)).tanh()
    return {
        "as they come": x,
        "units that never vary": torch.cat([x, torch.tensor([0, 0.3, -1e4]).expand(N, 3)], 1),
        "units twice": torch.cat([x, x, x[:, :2].relu()], 1),
        "sums of units": torch.cat([x, x[:, :2] - x[:, 2:4], x.mean(1, keepdim=True)], 1),
        "units of all sizes": x * 10.0 ** torch.arange(-3, 4),
        "units that tell the attribute and no more": torch.cat(
            [x, columns(z, K), 0.1 + 0.7 * z[:, None]], 1
        ),
        "units that a few samples make vary": torch.cat([x, few], 1),
        "units that saturate": torch.cat([x, nearly, (3 * nearly).tanh()], 1),
        "units far from zero": x + 1e4,
        "nothing that varies": torch.full((N, D), 0.1).double(),
    }


HARD = pytest.mark.parametrize("hardship", hard(*world()[:2]))
PRECISE = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@WAYS
@HARD
@PRECISE
def test_a_probe_that_scales_what_it_reads_finds_no_more_than_the_frequencies(way, hardship, dtype):
    x, z, _ = world()
    x = hard(x, z)[hardship].to(dtype)
    edit = way(counted(x, z))
    after, entropy = edit(x), Prior.of(z, z * 0, groups=K).entropy
    assert after.dtype == dtype
    assert edit.lost == (K - 1 if hardship != "nothing that varies" else 0)
    assert logistic(after, z, strength=10.0)[0] > entropy - 1e-5
    if edit.lost:
        assert logistic(x, z, strength=10.0)[0] < entropy - 0.2


@WAYS
@HARD
@PRECISE
def test_inside_each_class_it_finds_none_either(way, hardship, dtype):
    x, z, y = world()
    x = hard(x, z)[hardship].to(dtype)
    after = way(counted(x, z, y))(x)
    for mine in (y == 0, y == 1):
        entropy = Prior.of(z[mine], z[mine] * 0, groups=K).entropy
        assert logistic(after[mine], z[mine], strength=10.0)[0] > entropy - 1e-5


@WAYS
def test_what_never_varies_is_the_same_for_everybody_to_the_last_digit(way):
    x, z, y = world()
    still = torch.tensor([0, 0.1, -1e4, 1e-30]).double()
    after = way(counted(torch.cat([x, still.expand(N, 4)], 1), z, y))(
        torch.cat([x, still.expand(N, 4)], 1)
    )
    assert torch.equal(after[:, D:], still.expand(N, 4))


@WAYS
def test_what_varies_between_classes_alone_is_left_as_it_is(way):
    x, z, y = world()
    x = torch.cat([x, 0.1 + y[:, None]], 1)
    assert torch.equal(way(counted(x, z, y))(x)[:, D], x[:, D])


def test_sums_with_features_held_are_the_sums_of_held_features():
    x, z, y = world()
    held = torch.arange(D) % 3 == 1
    found = counted(x, z, y)
    found.hold(held)
    want = counted(torch.where(held, x.mean(0), x), z, y)
    for name in ("mean", "within", "shared", "varies", "constant"):
        torch.testing.assert_close(getattr(found, name), getattr(want, name), atol=1e-12, rtol=1e-9)
    after = erase(found)(x)
    torch.testing.assert_close(after, erase(want)(torch.where(held, x.mean(0), x)))
    assert bool((after[:, held] == after[0, held]).all())


def test_even_what_hardly_varies_is_erased():
    """A tiny feature can be blown up by a probe, so that it is no safe place for an attribute."""
    x, z, _ = world()
    x[:, 3:] *= 1e-9
    after = erase(counted(x, z))(x)
    assert (covariance(after, columns(z, K))[3:] / 1e-9).abs().max() < 1e-12


@pytest.mark.parametrize("bias", [True, False])
def test_an_edit_is_folded_into_the_layers_on_both_sides(bias):
    x, z, _ = world()
    edit, like = erase(counted(x, z)), torch.zeros(1, dtype=torch.double)
    torch.manual_seed(0)
    before, after = nn.Linear(4, D).double(), nn.Linear(D, 5, bias=bias).double()
    raw = torch.randn(11, 4).double()
    folded = edit.after(Map.of(before)).layer(like)
    torch.testing.assert_close(folded(raw), edit(before(raw)))
    head = Map.of(after).after(edit).layer(like)
    torch.testing.assert_close(head(x), after(edit(x)))
    assert edit.layer(torch.zeros(1)).weight.dtype == torch.float32


def test_a_layer_is_made_without_a_draw():
    state = torch.random.get_rng_state()
    Map(torch.eye(3), torch.zeros(3)).layer(torch.zeros(1))
    assert torch.equal(torch.random.get_rng_state(), state)


@WAYS
@pytest.mark.parametrize("most", [1, 3, D - 1])
def test_an_edit_may_keep_the_widest_directions_alone_of_what_it_leaves(way, most):
    x, z, y = world()
    moments = counted(x, z, y)
    edit = way(moments)
    found = narrow(moments, edit, most)(x)
    apart = edit(x) - x.mean(0)
    _, _, axes = torch.linalg.svd(apart, full_matrices=False)
    wanted = apart @ axes[:most].T @ axes[:most] + x.mean(0)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-8)
    for c in range(C):
        mine = y == c
        assert covariance(found[mine], columns(z[mine], K)).abs().max() < 1e-9


def test_what_an_edit_holds_is_held_when_few_directions_are_kept():
    x, z, y = world()
    x[:, 2] = 3.0
    moments = counted(x, z, y)
    found = narrow(moments, erase(moments), 2)(x)
    assert found[:, 2].unique().tolist() == [3.0]
