"""The contract suite catches methods that break a promise, those for attributes as well."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from expunge import Attribute
from expunge.method import Method
from expunge.testing import check_method


class Leaning(nn.Linear):
    """Keeps a part of what it does where no file finds it."""

    def forward(self, x):
        return super().forward(x) + self.lean


@dataclass(frozen=True)
class Secretive(Method):
    """Changes answers, and no weight."""

    handles: ClassVar = (Attribute,)

    def forget(self, model, case):
        del case
        model[-1].__class__, model[-1].lean = Leaning, 1.0
        return model


@dataclass(frozen=True)
class Appending(Method):
    """Puts a layer at the end of a model."""

    handles: ClassVar = (Attribute,)
    reshapes: ClassVar = True

    layer: str = "Halving"

    def forget(self, model, case):
        assert {-1, 0, 1} == {int(z) for batch in case.retain for z in batch[2]}
        assert all(len(case.task.labels(batch)) for batch in case.retain)
        model.append({each.__name__: each for each in LAYERS}[self.layer]())
        return model


class Halving(nn.Module):
    """Keeps what it does in a buffer, as it should."""

    def __init__(self):
        super().__init__()
        self.register_buffer("factor", torch.tensor(0.5))

    def forward(self, x):
        return self.factor * x


class Hooked(Halving):
    """Leaves somebody listening."""

    def __init__(self):
        super().__init__()
        self.register_forward_hook(lambda *_: None)


class Restless(Halving):
    """Is another one every time."""

    made = 0

    def __init__(self):
        super().__init__()
        Restless.made += 1
        self.factor += Restless.made


LAYERS = [Halving, Hooked, Restless]


def test_a_method_for_attributes_alone_is_run_and_may_insert_a_layer():
    check_method(Appending())


@pytest.mark.parametrize(
    ("layer", "fact"),
    [
        (Hooked, "a hook was left behind"),
        (Restless, "same seed, other weights"),
    ],
)
def test_a_layer_that_breaks_a_promise_is_caught(layer, fact):
    with pytest.raises(AssertionError, match=fact):
        check_method(Appending(layer=layer.__name__))


def test_what_no_file_can_keep_is_caught():
    with pytest.raises(AssertionError, match="saved and loaded again"):
        check_method(Secretive())


@dataclass(frozen=True)
class Thawing(Method):
    """Moves one layer, frozen or not."""

    last: bool = False

    def forget(self, model, case):
        del case
        with torch.no_grad():
            model[-1 if self.last else 0].weight.add_(1)
        return model


@pytest.mark.parametrize(
    ("last", "fact"), [(False, "a frozen layer was changed"), (True, "a frozen head was changed")]
)
def test_what_is_frozen_must_stay_what_it_is(last, fact):
    with pytest.raises(AssertionError, match=fact):
        check_method(Thawing(last=last))
