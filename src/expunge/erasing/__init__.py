"""Take attributes out of the features that a model's answers are made from, in closed form."""

from expunge.erasing.restoring import restored
from expunge.erasing.taking import Plan, Views, gathered, take_out
from expunge.erasing.tallying import HELD, Tally

__all__ = ["HELD", "Plan", "Tally", "Views", "gathered", "restored", "take_out"]
