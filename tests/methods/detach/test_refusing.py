"""What Detach refuses: attributes, models and settings of which nothing could come."""

import pytest
import torch
from torch import nn

from expunge.errors import BadSetting, MissingInput, ModelDoesNotFit, RequestDoesNotFit

D, H = 9, 11  # inputs and features of the toy


def test_a_connection_around_a_cut_is_refused(toy):
    class Skipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(D, H), nn.Linear(H, H)
            self.third, self.head = nn.Linear(H, 5), nn.Linear(5, 2)

        def forward(self, x):
            x = self.first(x).relu()
            return self.head(self.third(x + self.second(x).relu()).relu())

    with pytest.raises(ModelDoesNotFit, match="leads around the cut"):
        toy.outcome(model=Skipping(), cuts=("second",))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda p: torch.full_like(p.z, 2), "'ink' is 2"),
        (lambda p: torch.full_like(p.z, -1), "no retained sample answers"),
        (lambda p: p.y, "removes the task"),
        (lambda p: torch.full_like(p.x[:, 0], torch.nan), "no retained sample answers"),
    ],
    ids=["constant", "missing", "label", "missing numbers"],
)
def test_what_cannot_be_removed_is_refused(toy, change, word):
    people = toy.drawn()
    with pytest.raises(RequestDoesNotFit, match=word):
        toy.outcome(toy.people(people.x, people.y, change(people)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"paper": (1.0, 0.5, 0.5)},
        {"keep_y": 0.0},
        {"epochs": 0},
        {"lr": 0.0},
        {"critics": 0},
        {"critic_steps": 0},
    ],
    ids=str,
)
def test_settings_with_which_nothing_would_be_removed_or_learned_are_refused(toy, wrong):
    with pytest.raises(BadSetting):
        toy.outcome(**wrong)


def test_a_model_without_features_is_refused(toy):
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return x[:, :2] * self.scale

    with pytest.raises((MissingInput, ModelDoesNotFit)):
        toy.outcome(model=Bare(), erase=False, distil=0.0)
