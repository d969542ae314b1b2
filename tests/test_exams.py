"""An exam asks no more than decides whether a goal is met, and says the same as a whole one."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, exams
from expunge.exams import Exam
from expunge.observing import Observation

N, C = 90, 5
TASK = Classification()


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(exams, "_AT_ONCE", 8)


def exam(removed):
    """Twenty of each side; whoever answers is handed the row's number."""
    labels = torch.arange(N) % C
    data = TensorDataset(torch.arange(N)[:, None].float(), labels)
    asked = Observation(torch.arange(N), torch.zeros(N, C), labels)
    return Exam.about(data, asked, removed, "all", 20)


class Asked:
    """Several models that know some of the labels, and how often they were asked."""

    def __init__(self, knowing, seed):
        draw = torch.Generator().manual_seed(seed)
        right = torch.rand(len(knowing), N, generator=draw) < torch.tensor(knowing)[:, None]
        guess = torch.randint(C, right.shape, generator=draw)
        self.said, self.times = torch.where(right, torch.arange(N) % C, guess), 0

    def __call__(self, batch):
        self.times += 1
        return nn.functional.one_hot(self.said[:, batch[0][:, 0].long()], C).float()


@pytest.mark.parametrize("removed", [(3,), (1, 3), ()])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("goal", [0.2, 0.5, 0.8])
def test_who_passes_is_told_exactly_and_when_is_never_missed(removed, seed, goal):
    asked, held = Asked([0.1, 0.4, 0.6, 0.9], seed), exam(removed)
    whole = held.marked(asked, {})
    short = held.marked(asked, dict.fromkeys(whole, goal))
    for name, marks in whole.items():
        assert (short[name] >= goal).equal(marks >= goal)
        assert (short[name] >= marks).all()  # what was not asked counts as right


def test_who_knows_nothing_is_asked_little():
    held, ignorant, knowing = exam((3,)), Asked([0.0, 0.1], 0), Asked([0.1, 1.0], 0)
    held.marked(ignorant, {"all": 0.8})
    held.marked(knowing, {"all": 0.8})
    assert len(held.batches) == 5
    assert (ignorant.times, knowing.times) == (1, 5)


def test_without_a_goal_everything_is_asked():
    held, ignorant = exam((3,)), Asked([0.0], 0)
    held.marked(ignorant, {})
    assert ignorant.times == len(held.batches)
