"""CIFAR-10's networks: laid out for speed, and no other for it."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from expunge.batching import Batches
from expunge.problems import cifar10
from expunge.splitting import Part

N = 12


@pytest.fixture
def problem(monkeypatch):
    """A dozen pictures of noise."""
    generator = np.random.default_rng(0)
    found = {
        f"{kind}_{part}": generator.integers(0, size, shape, dtype=dtype)
        for part in ("train", "test")
        for kind, size, shape, dtype in (
            ("x", 256, (N, 3, 32, 32), np.uint8),
            ("y", 10, N, np.int64),
        )
    }
    monkeypatch.setattr(cifar10, "ARCHIVE", SimpleNamespace(arrays=lambda _: found))
    return lambda network: cifar10.cifar10(network=network, width=16, epochs=1)


@pytest.mark.parametrize("network", ["resnet18", "all_cnn", "vit"])
def test_networks_lie_with_channels_last_before_and_after_training_and_answer_the_same(
    network, problem
):
    posed = problem(network)
    x = next(iter(Batches(Part.whole(posed.train))))[0]
    torch.manual_seed(0)
    for model in (posed.recipe.build().eval(), posed.recipe.train(Part.whole(posed.train))):
        laid = [p for p in model.parameters() if p.ndim == 4 and min(p.shape[1:3]) > 1]
        assert laid
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in laid)
        plain = deepcopy(model)
        for parameter in plain.parameters():
            parameter.data = parameter.data.contiguous()
        torch.testing.assert_close(model(x), plain(x), rtol=1e-4, atol=1e-5)
