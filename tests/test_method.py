"""Settings of a method: a word that is not known is refused, and the nearest is named."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest

from expunge.errors import BadSetting, UnknownName
from expunge.method import Method


@dataclass(frozen=True)
class Sorting(Method):
    """A method of no use whose settings take words in every way."""

    plain: Literal["up", "down"] = "up"
    either: Literal["up", "down"] | int | None = None
    free: Literal["auto"] | str = "auto"  # noqa: PYI051 - as a plug-in may write it
    count: int = 1
    share: float = 0.5
    really: bool = False
    three: tuple[float, float, float] | None = None
    several: tuple[str, ...] = ()
    how: Callable[[Any], Any] | None = None

    def forget(self, model, case):
        del case
        return model


@pytest.mark.parametrize("settings", [{"plain": "Up"}, {"either": "downwards"}])
def test_a_word_that_a_setting_does_not_know_is_refused(settings):
    with pytest.raises(UnknownName, match=f"no {next(iter(settings))} of Sorting is named"):
        Sorting(**settings)


def test_the_nearest_word_is_named():
    with pytest.raises(UnknownName, match="did you mean 'down'"):
        Sorting(plain="Down")


@pytest.mark.parametrize(
    "settings", [{}, {"plain": "down"}, {"either": "down"}, {"either": 3}, {"free": "anything"}]
)
def test_what_is_known_and_what_is_no_word_are_taken(settings):
    assert {**settings}.items() <= Sorting(**settings).describe().items()


@pytest.mark.parametrize(
    "settings",
    [
        {"plain": 0},
        {"either": 0.5},
        {"count": "3"},
        {"count": 2.0},
        {"count": True},
        {"share": (0.5,)},
        {"share": None},
        {"really": 1},
        {"three": (1.0, 2.0)},
        {"three": "abc"},
        {"several": (1,)},
        {"several": "odd"},
        {"how": "sin"},
    ],
    ids=str,
)
def test_a_value_of_another_kind_is_refused_and_the_kind_is_said(settings):
    with pytest.raises(BadSetting, match=f"{next(iter(settings))} of Sorting cannot be") as told:
        Sorting(**settings)
    assert "it is of the type" in told.value.hint
    assert "typing." not in told.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        {"count": np.int64(3), "share": np.float32(0.25)},
        {"share": 1},
        {"three": [1, 2.0, 3]},
        {"several": ("a", "b", "c", "d")},
        {"how": len},
    ],
    ids=str,
)
def test_values_of_the_kind_are_taken_in_every_dress(settings):
    assert Sorting(**settings)
