"""A run that was interrupted ends where it would have ended."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge.fitting import Fit
from expunge.splitting import Part


@pytest.fixture
def path(tmp_path):
    """Where a checkpoint lies."""
    return tmp_path / "run.safetensors"


@pytest.mark.parametrize("normalised", [False, True])
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(fit, normalised, path, bench):
    kept = replace(fit, checkpoint=path)
    bench.interrupted(kept, after=2, model=bench.network(normalised=normalised))
    assert path.exists()
    heard = []
    resumed = replace(kept, progress=lambda *told: heard.append(told))
    found = bench.trained(resumed, model=bench.network(normalised=normalised))
    assert heard == [("train", done, 5) for done in (3, 4, 5)]
    assert bench.same(found, bench.trained(fit, model=bench.network(normalised=normalised)))
    assert not path.exists()


def test_a_resumed_run_keeps_the_memory_order_of_its_model(path, bench):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(48, 3, 6, 6, generator=generator)
    dataset = TensorDataset(images, torch.randint(0, 4, (48,), generator=generator))

    def build():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 4))
        return model.to(memory_format=torch.channels_last)

    def stop(_step, done, _total):
        if done == 2:
            raise KeyboardInterrupt

    fit = Fit(epochs=4, lr=0.1, batch=16)
    kept = replace(fit, checkpoint=path)
    with torch.random.fork_rng():
        whole = fit(build(), dataset)
        with pytest.raises(KeyboardInterrupt):
            replace(kept, progress=stop)(build(), dataset)
        resumed = kept(build(), dataset)
    assert bench.same(whole, resumed)


def test_a_run_may_be_interrupted_more_than_once(path, bench):
    fit = bench.FITS["adamw"]
    kept = replace(fit, checkpoint=path)
    for after in (1, 3):
        bench.interrupted(kept, after=after)
        assert path.exists()
    assert bench.same(bench.trained(kept), bench.trained(fit))


@pytest.mark.parametrize(
    "other",
    [
        {"fit": {"lr": 0.2}},
        {"fit": {"epochs": 6}},
        {"among": 30},
        {"model": {"width": 9}},
        {"model": {"seed": 8}},
        {"seed": 5},
    ],
    ids=str,
)
def test_the_checkpoint_of_another_run_is_ignored(other, path, bench):
    bench.interrupted(replace(bench.FITS["sgd"], checkpoint=path), after=2)
    assert path.exists()
    fit = replace(bench.FITS["sgd"], **other.get("fit", {}))

    def run(chosen):
        part = Part(bench.data(), torch.arange(other["among"])) if "among" in other else None
        model = bench.network(**other.get("model", {}))
        return bench.trained(chosen, seed=other.get("seed", 0), model=model, dataset=part)

    assert bench.same(run(replace(fit, checkpoint=path)), run(fit))


@pytest.mark.parametrize("text", [b"", b"half", b"{}" * 50])
def test_a_corrupt_checkpoint_is_ignored(text, path, bench):
    fit = bench.FITS["sgd"]
    path.write_bytes(text)
    assert bench.same(bench.trained(replace(fit, checkpoint=path)), bench.trained(fit))
    assert not path.exists()
