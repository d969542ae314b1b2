"""Mean projection keeps the promise of LEACE, and moves the samples farther."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Request, split
from expunge.methods.leace import Leace
from expunge.methods.mean_projection import MeanProjection
from expunge.unlearning import seeded, unlearn

N, D, H, C, K = 270, 5, 11, 2, 3
TASK = Classification(attributes={"hat": lambda batch: batch[2]})


def drawn():
    generator = torch.Generator().manual_seed(0)
    z = torch.randint(K, (N,), generator=generator)
    y = torch.randint(C, (N,), generator=generator)
    x = torch.randn(N, D, generator=generator).double() @ torch.diag(torch.arange(1.0, 6)).double()
    x[:, :K] += F.one_hot(z, K)
    x[:, D - 1] += 9 * y
    return x, y, z


def network():
    with seeded(0):
        return nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Linear(H, C)).double()


def outcome(method, model=None, batch=None):
    data, model = TensorDataset(*(batch or drawn())), model or network()
    parts = split(data, Request(Attribute("hat")), test=data)
    return unlearn(model, parts, method, task=TASK)


def features(model, batch=None):
    with torch.no_grad():
        return TASK.answer(model, batch or drawn()).embedding


def test_inside_each_class_the_groups_have_one_mean():
    _, y, z = drawn()
    found = outcome(MeanProjection())
    before, after = features(found.before), features(found.after)
    for k in range(C):
        mine = [(y == k) & (z == group) for group in range(K)]
        was, now = (torch.stack([x[one].mean(0) for one in mine]) for x in (before, after))
        assert (was - was[0]).abs().max() > 0.1
        assert (now - now[0]).abs().max() < 1e-12


def test_without_conditions_the_groups_have_one_mean_over_all():
    x, z = features(outcome(MeanProjection(condition_on="nothing")).after), drawn()[2]
    means = torch.stack([x[z == group].mean(0) for group in range(K)])
    torch.testing.assert_close(means, x.mean(0).expand(K, H))


def test_it_projects_at_a_right_angle():
    matrix = outcome(MeanProjection()).after[2].before.matrix
    torch.testing.assert_close(matrix, matrix.T)
    torch.testing.assert_close(matrix, matrix @ matrix)
    assert round(matrix.trace().item()) == H - C * (K - 1)


def test_leace_moves_the_samples_less():
    def moved(method):
        found = outcome(method)
        return (features(found.after) - features(found.before)).square().sum(1).mean()

    assert moved(MeanProjection()) > 1.05 * moved(Leace())


def test_the_head_is_fitted_again_unless_it_shall_stay():
    stays, fitted = (outcome(MeanProjection(refit=refit)) for refit in (False, True))
    assert torch.equal(stays.after[2].layer.weight, stays.before[2].weight)
    with torch.no_grad():
        losses = [TASK.loss(found.after, drawn()).mean() for found in (stays, fitted)]
    assert losses[1] < 0.8 * losses[0]


def mirrored(batch):
    return batch[0].flip(1), *batch[1:]


@pytest.mark.parametrize("method", [MeanProjection, Leace])
def test_an_attribute_that_mirrored_inputs_alone_show_is_erased_by_views_that_mirror(method):
    """The group stands at the one edge, and the network reads the other two columns alone."""
    x, y, z = drawn()
    x[:, :K] -= F.one_hot(z, K)
    x[:, 0] += 3 * z
    model = network()
    with torch.no_grad():
        model[0].weight[:, : D - 2] = 0

    def apart(model):
        seen = features(model, mirrored((x, y, z)))
        found = []
        for k in range(C):
            means = torch.stack([seen[(y == k) & (z == group)].mean(0) for group in range(K)])
            found.append((means - means[0]).abs().max())
        return max(found)

    plain, by_views = (
        outcome(method(views=views), model, (x, y, z)).after for views in (None, mirrored)
    )
    assert apart(plain) > 0.1
    assert apart(by_views) < 1e-12


def test_views_are_among_its_settings():
    plain, by_views = (MeanProjection(views=views).describe() for views in (None, mirrored))
    assert plain["views"] is None
    assert "mirrored" in json.dumps(by_views["views"])
    assert {**plain, "views": 0} == {**by_views, "views": 0}
