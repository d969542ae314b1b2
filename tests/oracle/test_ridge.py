"""Ridge regression, whose solution without any samples is known: the step must land on it."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Regression, Request, Samples, split
from expunge.methods.lcodec import Lcodec
from expunge.unlearning import unlearn

N, D, L2 = 190, 3, 1e-2


class Ridge:
    """Noisy numbers, and the line through them that minimises mean loss + l2/2 · |w|²."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(N, D, generator=generator).double()
        noise = torch.randn(N, generator=generator).double()
        self.y = self.x @ torch.arange(1.0, D + 1).double() + noise
        self.order = torch.randperm(N, generator=generator)
        self.model = nn.Linear(D, 1).double()
        self.whole = self.solution(torch.arange(N))
        with torch.no_grad():
            self.model.weight.copy_(self.whole[None, :-1])
            self.model.bias.copy_(self.whole[-1:])

    def solution(self, kept):
        """The optimum for these samples, the bias among what is kept small."""
        rows = torch.cat([self.x[kept], torch.ones(len(kept), 1)], 1)
        bent = 2 * rows.T @ rows / len(kept) + L2 * torch.eye(D + 1, dtype=torch.double)
        return torch.linalg.solve(bent, 2 * rows.T @ self.y[kept] / len(kept))

    def without(self, count, **settings):
        """What a method makes of the line, and the solution that it should be."""
        data = TensorDataset(self.x, self.y[:, None])
        request = Request(Samples(tuple(self.order[:count].tolist())))
        parts = split(data, request, test=data, validation=data)
        method = Lcodec("full", **{"l2": L2, "subsample": 0, "utility_drop": 1.0, **settings})
        outcome = unlearn(self.model, parts, method, task=Regression())
        found = torch.cat([outcome.after.weight[0], outcome.after.bias])
        return found, self.solution(parts.retain.indices), outcome


@pytest.fixture(scope="module")
def ridge():
    return Ridge()


@pytest.mark.parametrize(
    ("curvature", "count", "at_once"),
    [
        *[("hessian", count, at_once) for count in (1, 10, 100) for at_once in (1, 0)],
        *[("ggn", count, at_once) for count, at_once in ((1, 1), (10, 4), (100, 0))],
    ],
)
def test_one_newton_step_on_all_parameters_equals_solving_again(ridge, curvature, count, at_once):
    found, wanted, outcome = ridge.without(count, at_once=at_once, curvature=curvature)
    assert (found - wanted).abs().max() < 1e-10
    assert (ridge.whole - wanted).abs().max() > 1e-4
    assert outcome.notes == (f"{count} of {count} samples were taken out",)


def test_samples_that_were_passed_over_still_count_as_in_the_model(ridge, monkeypatch):
    """What is refused stays in the line: the result is the solution without the others."""
    said = iter([True, False, True, False, True])
    monkeypatch.setattr("expunge.streaming.Stream._harmless", lambda _: next(said))
    found, _, outcome = ridge.without(5, curvature="hessian")
    gone = outcome.split.forget.indices[[0, 2, 4]]
    wanted = ridge.solution(torch.tensor([i for i in range(N) if i not in gone.tolist()]))
    assert (found - wanted).abs().max() < 1e-10
    assert outcome.notes[-1] == "3 of 5 samples were taken out"


def test_where_the_penalty_is_not_known_to_be_the_objective_s_the_step_lands_elsewhere(ridge):
    found, wanted, _ = ridge.without(10, l2=None, damping=L2, curvature="hessian", at_once=0)
    assert (found - wanted).abs().max() > 1e-5


def test_a_block_larger_than_what_is_written_out_lands_there_too(ridge, monkeypatch):
    monkeypatch.setattr("expunge.stepping.SMALL", 3)
    found, wanted, _ = ridge.without(10, curvature="hessian", at_once=5)
    assert (found - wanted).abs().max() < 1e-10
