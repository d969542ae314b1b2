"""Mean projection keeps the promise of LEACE, and moves the samples farther."""

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


def outcome(method):
    data = TensorDataset(*drawn())
    with seeded(0):
        model = nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Linear(H, C)).double()
    parts = split(data, Request(Attribute("hat")), test=data)
    return unlearn(model, parts, method, task=TASK)


def features(model):
    with torch.no_grad():
        return TASK.answer(model, drawn()).embedding


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
