"""Copies of a model are taught side by side where that teaches them the same, and else alone."""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Request, reteaching, split
from expunge.exams import Exam
from expunge.observing import snapshot
from expunge.reteaching import Course, Lesson, _Abreast, _Alone

N, TEST, D, C, GONE = 240, 120, 6, 4, 2
TASK = Classification()


def data(n, seed):
    y, draw = torch.arange(n) % C, torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, D, generator=draw) + 3 * F.one_hot(y, D), y)


def build():
    return nn.Sequential(nn.Linear(D, 40), nn.ReLU(), nn.Linear(40, C))


PARTS = split(data(N, 0), Request(Classes((GONE,))), test=data(TEST, 1))


def lesson_of(model):
    seen = snapshot(model, PARTS, TASK).test
    exam = Exam.about(PARTS.test.source, seen, (GONE,), "class", 20)
    course = Course(40, 9, 60, 50, "adam", 1e-3, 2)
    gone, kept = PARTS.forget.indices, PARTS.retain.indices
    return Lesson(course, TASK, PARTS.retain.source, gone, kept, exam, {"class": 0.8})


@pytest.fixture
def ways(monkeypatch):
    """In which way copies were taught."""
    seen, taught = [], Lesson._taught

    def spied(self, pupils, draws):
        seen.append(type(pupils).__name__)
        return taught(self, pupils, draws)

    monkeypatch.setattr(Lesson, "_taught", spied)
    return seen


class Tied(nn.Module):
    """A weight that also lies where torch does not look."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(D, 40), nn.Linear(40, C)
        self.kept = [self.first.weight]

    def forward(self, x):
        return self.last(F.relu(F.linear(x, self.kept[0], self.first.bias)))


class Merging(nn.Sequential):
    """What it answers depends on how often it was put into training mode."""

    count = 0

    def train(self, *mode):
        self.count += 1
        return super().train(*mode)

    def forward(self, x):
        return super().forward(x) * (1 + 0.1 * self.count)


class Skipping(nn.Sequential):
    """Chance that torch does not know of."""

    def forward(self, x):
        return super().forward(x) * (0.5 if self.training and random.random() < 0.5 else 1.0)


class Dropping(nn.Sequential):
    """Chance within every step."""

    def forward(self, x):
        return super().forward(F.dropout(x, 0.1, self.training))


class Attending(nn.Module):
    """Torch cannot do all of it for many models at once, and does some one by one."""

    def __init__(self):
        super().__init__()
        self.mix, self.last = nn.MultiheadAttention(D, 2, batch_first=True), nn.Linear(D, C)

    def forward(self, x):
        rows = x[:, None] + torch.arange(3)[:, None]
        return self.last(self.mix(rows, rows, rows)[0].mean(1))


def normed():
    return nn.Sequential(
        nn.Linear(D, 40), nn.BatchNorm1d(40, track_running_stats=False), nn.ReLU(), nn.Linear(40, C)
    )


def normalised():
    return nn.Sequential(*build(), nn.LogSoftmax(1))


@pytest.mark.parametrize("make", [build, normed, normalised, Attending])
def test_copies_learn_side_by_side_what_they_learn_alone(make, ways):
    torch.manual_seed(3)
    model = make()
    lesson = lesson_of(model)
    draws = torch.stack([lesson.course.draws(lesson.gone, lesson.kept, run) for run in range(2)])
    abreast = _Abreast.of(model, 2, lesson)
    alone = [_Alone.of(model, lesson) for _ in range(2)]
    for step in range(6):
        abreast.learn(draws[:, step])
        for each, row in zip(alone, draws, strict=True):
            each.learn(row[None, step])
    batch = lesson.exam.batches[0]
    by_itself = torch.cat([each.answers(batch) for each in alone])
    torch.testing.assert_close(abreast.answers(batch), by_itself, rtol=1e-4, atol=1e-4)
    lesson.runs(model, 2)
    assert ways == ["_Abreast"]


@pytest.mark.parametrize(
    "model",
    [
        Tied(),
        Merging(*build()),
        Skipping(*build()),
        Dropping(*build()),
        nn.Sequential(nn.Linear(D, 40), nn.BatchNorm1d(40), nn.Linear(40, C)),
        nn.Sequential(nn.Unflatten(1, (1, D)), nn.Conv1d(1, 9, 2), nn.Flatten(), nn.Linear(45, C)),
    ],
    ids=["tied", "merging", "skipping", "dropping", "buffers", "convolution"],
)
def test_copies_that_would_not_learn_alike_learn_one_after_another(model, ways):
    random.seed(0)
    before = torch.get_rng_state()
    lesson_of(model).runs(model, 2)
    assert ways == ["_Alone", "_Alone"]
    assert torch.equal(torch.get_rng_state(), before)


def test_large_copies_learn_one_after_another(monkeypatch, ways):
    monkeypatch.setattr(reteaching, "_SMALL", 9)
    model = build()
    lesson_of(model).runs(model, 2)
    assert ways == ["_Alone", "_Alone"]
