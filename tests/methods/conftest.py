"""One trained network on the digits, for every baseline."""

from dataclasses import dataclass

import pytest
from torch import nn

from expunge import Classes, Request, split
from expunge.observing import Snapshot, snapshot
from expunge.problems.digits import digits
from expunge.problems.problem import Problem
from expunge.splitting import Split
from expunge.unlearning import unlearn


@dataclass(frozen=True)
class Digits:
    """The network that knows all ten digits, and the request to forget the three."""

    problem: Problem
    original: nn.Module
    split: Split
    before: Snapshot

    def unlearned(self, method, **given):
        """The outcome of a method, and what its model says."""
        outcome = unlearn(self.original, self.split, method, task=self.problem.task, **given)
        return outcome, snapshot(outcome.after, self.split, self.problem.task)


@pytest.fixture(scope="session")
def threes():
    problem = digits()
    original = problem.trained()
    parts = split(problem.train, Request(Classes((3,))), test=problem.test)
    return Digits(problem, original, parts, snapshot(original, parts, problem.task))
