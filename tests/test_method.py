"""Settings of a method: a word that is not known is refused, and the nearest is named."""

from dataclasses import dataclass
from typing import Literal

import pytest

from expunge.errors import UnknownName
from expunge.method import Method


@dataclass(frozen=True)
class Sorting(Method):
    """A method of no use whose settings take words in every way."""

    plain: Literal["up", "down"] = "up"
    either: Literal["up", "down"] | int | None = None
    free: Literal["auto"] | str = "auto"  # noqa: PYI051 - as a plug-in may write it

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
