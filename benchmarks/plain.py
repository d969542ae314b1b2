"""How fast is `Duck` against a straightforward version of its loop, to the same AUS?

`python benchmarks/plain.py --data DIR` on CIFAR-10, class 3, with the original that
`benchmarks/run.py` trained. The plain loop forwards forget and retain batches separately, reads
both through a DataLoader, computes in full precision, and looks at the forget set once an epoch.
It also takes all retained samples for its centroids, picks targets anew at every step, and has a
constant learning rate, as the published loop does; it has no recovery. Read both scores beside the
ratio: the ratio means something where they are alike.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import expunge
from expunge import Classes, Request
from expunge.methods.duck import Duck
from expunge.metrics.aus import aus
from expunge.observing import snapshot
from expunge.problems.archives import cache_folder
from expunge.problems.cifar10 import cifar10
from expunge.splitting import Split

BATCH, RATIO, LR, GOAL = 32, 5, 5e-4, 0.01


def plain(original: nn.Module, parts: Split, epochs: int) -> nn.Module:
    """The loop as one would write it down."""
    model = deepcopy(original).eval()
    *layers, head = model.children()
    body = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    centres = _centres(body, parts)
    kept = _endless(DataLoader(parts.retain, BATCH * RATIO, shuffle=True))
    for _ in range(epochs):
        for x, _y in DataLoader(parts.forget, BATCH, shuffle=True):
            apart = 1 - F.cosine_similarity(body(x)[:, None], centres[None], dim=2)
            there, labels = next(kept)
            logits = head(body(there))
            loss = apart.min(1).values.mean() + 1.4 * F.cross_entropy(logits / 2, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if _accuracy(model, parts) <= GOAL:
            break
    return model


@torch.no_grad()
def _centres(body: nn.Module, parts: Split) -> Tensor:
    rows = [(body(x), y) for x, y in DataLoader(parts.retain, 512)]
    features, labels = (torch.cat(column) for column in zip(*rows, strict=True))
    return torch.stack([features[labels == k].mean(0) for k in labels.unique()])


@torch.no_grad()
def _accuracy(model: nn.Module, parts: Split) -> float:
    hits = [(model(x).argmax(1) == y).double() for x, y in DataLoader(parts.forget, 512)]
    return torch.cat(hits).mean().item()


def _endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def main() -> None:
    """Time both on this machine, one after the other, and write results/plain.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("EXPUNGE_DATA"))
    problem = cifar10(data=parser.parse_args().data)
    original = problem.trained(0, cache_folder())
    parts = expunge.split(
        problem.train, Request(Classes((3,))), test=problem.test, validation=problem.validation
    )
    started = time.process_time()
    outcome = expunge.unlearn(original, parts, Duck(), task=problem.task)
    mine = time.process_time() - started
    started = time.process_time()
    theirs = plain(original, parts, epochs=3)
    seconds = time.process_time() - started
    before, ours, other = (
        snapshot(model, parts, problem.task) for model in (original, outcome.after, theirs)
    )
    scores = [
        aus(before.test_kept.accuracy, s.test_kept.accuracy, s.test_removed.accuracy)
        for s in (ours, other)
    ]
    body = {
        "duck": {"seconds": mine, "aus": scores[0]},
        "plain": {"seconds": seconds, "aus": scores[1]},
        "ratio": seconds / mine,
        "threads": torch.get_num_threads(),
    }
    text = json.dumps(body, indent=1, sort_keys=True) + "\n"
    (Path(__file__).parent / "results" / "plain.json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
