"""Planted worlds: scores of shadow models and of a target, whose true likelihoods are known."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import stats

from expunge.algebra.statistics import auc


@dataclass(frozen=True, eq=False)
class World:
    """What shadow models and a target say of every record, and who was in the target."""

    scores: torch.Tensor
    trained: torch.Tensor
    target: torch.Tensor
    member: torch.Tensor
    truth: torch.Tensor  # the log-ratio of who knows all distributions

    def caught(self, found):
        """AUC, and the share of members above all but one in a hundred non-members."""
        inside, outside = found[self.member], found[~self.member]
        line = outside.sort(descending=True).values[len(outside) // 100]
        return auc(inside, outside).value, (inside > line).double().mean().item()


def planted(pairs, n, seed):
    """Records of differing difficulty, gain from membership, and spread."""
    rng = np.random.default_rng(seed)
    mean, gap = rng.normal(2, 3, n), rng.gamma(1.0, 1.0, n)
    out = rng.gamma(4, 0.25, n) ** -0.5
    into = out * rng.uniform(0.6, 1.1, n)
    half = rng.random((pairs, n)) < 0.5
    trained, member = np.concatenate([half, ~half]), rng.random(n) < 0.5

    def say(on):
        noise = rng.normal(size=on.shape)
        return mean + np.where(on, gap + into * noise, out * noise)

    scores, target = say(trained), say(member)
    truth = stats.norm.logpdf(target, mean + gap, into) - stats.norm.logpdf(target, mean, out)
    return World(*map(torch.from_numpy, (scores, trained, target, member, truth)))


@pytest.fixture(scope="session")
def world():
    """Make a planted world of so many pairs of complementary shadow models."""
    return planted
