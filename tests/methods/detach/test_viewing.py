"""Views stand in for batches wherever Detach learns, and nowhere where it judges."""

from typing import ClassVar

from torch import nn

EPOCH = {"batch": 100, "critics": 1, "critic_steps": 1}


class Watching(nn.Module):
    """Remembers the signs of what it is given, by whether it is being trained."""

    seen: ClassVar[dict] = {True: set(), False: set()}

    def forward(self, x):
        self.seen[self.training].update(x.sign().unique().tolist())
        return x


def darkened(batch):
    return (-batch[0], *batch[1:])


def test_the_model_is_trained_on_what_views_show_and_the_closed_form_estimated_on_it(toy):
    people = toy.drawn()
    bright = toy.people(people.x.abs() + 0.1, people.y, people.z)
    model = nn.Sequential(Watching(), *toy.network())
    toy.outcome(bright, model=model, erase=False, views=darkened, cuts=("2",), **EPOCH)
    assert Watching.seen == {True: {-1.0}, False: {1.0}}
    toy.outcome(bright, model=model, views=darkened, **EPOCH)
    assert Watching.seen == {True: {-1.0}, False: {-1.0, 1.0}}
    toy.outcome(bright, model=model, **EPOCH)
    assert Watching.seen[True] == {-1.0, 1.0}
