"""How fast is the frame around the mathematics? Every claim is a ratio within this one run.

`python benchmarks/speed.py` writes results/speed.json and results/speed.md; `--quick` takes
smaller data and fewer repeats, and says so in what it writes. Run it on an idle machine: with
two cores, any other work doubles what is measured here.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from claims import Row, timed, write
from fresh import halves, help_text, imports, pages, steps
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from expunge import Classification, Request, Samples, audit, split, unlearn
from expunge.attacks.threshold import Threshold
from expunge.batching import Batches
from expunge.method import Case, Method
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.loss import Loss
from expunge.metrics.membership import Membership
from expunge.outcome import Outcome
from expunge.splitting import Part

RESULTS = Path(__file__).parent / "results"


class Bytes(TensorDataset):
    """Images kept as bytes: normalised a sample at a time when read by position, as usual.

    With ``prepare``, expunge normalises a batch at a time.
    """

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One sample, normalised."""
        return self.prepare(*(column[index] for column in self.tensors))

    def prepare(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Bytes to numbers between 0 and 1."""
        return x.float().div_(255), y


@dataclass(frozen=True)
class Idle(Method):
    """A method that does nothing, so that only the runner is timed."""

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        """Return the copy as it is."""
        del case
        return model


class Timed(nn.Module):
    """A model that knows how long its own forward passes take."""

    def __init__(self, inner: nn.Module) -> None:
        """Wrap a model."""
        super().__init__()
        self.inner, self.seconds = inner, 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Answer, and look at the clock."""
        started = time.perf_counter()
        answer: Tensor = self.inner(x)
        self.seconds += time.perf_counter() - started
        return answer


def batches(name: str, asked: float, data: TensorDataset, repeats: int) -> Row:
    """Time an epoch of shuffled batches of 128 against a DataLoader over the same dataset."""
    ours, theirs = [], []
    for _ in range(repeats):  # interleaved, so that a busy machine slows both
        ours.append(_epoch(Batches(Part.whole(data), 128, shuffle=True)))
        theirs.append(_epoch(DataLoader(data, 128, shuffle=True)))
    ratio = statistics.median(theirs) / statistics.median(ours)
    return Row(
        f"batches of {name}, against a DataLoader",
        f"at least {asked:g} times faster",
        f"{ratio:.1f} times",
        ratio >= asked,
        {"ours_s": ours, "dataloader_s": theirs},
    )


def _epoch(source: Iterable[object]) -> float:
    started = time.perf_counter()
    for _ in source:
        pass
    return time.perf_counter() - started


def batching(scale: int, repeats: int) -> list[Row]:
    """The three kinds of tensor-backed data."""
    n = 20_000 // scale
    y = torch.randint(0, 10, (n,))
    images, rows = TensorDataset(torch.randn(n, 3, 32, 32), y), TensorDataset(torch.randn(n, 64), y)
    small = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8)
    return [
        batches("fp32 images of 3 by 32 by 32", 3, images, repeats),
        batches("the same as bytes, normalised on the way", 3, Bytes(small, y), repeats),
        batches("rows of 64 features", 10, rows, repeats),
    ]


def runner(repeats: int) -> Row:
    """What `unlearn` adds around a method, on a network of 11 million parameters."""
    model = nn.Sequential(
        nn.Linear(3072, 3000), nn.ReLU(), nn.Linear(3000, 600), nn.Linear(600, 10)
    )
    data = TensorDataset(torch.randn(2000, 3072), torch.randint(0, 10, (2000,)))
    parts = split(data, Request(Samples(range(100))), test=data)

    def once() -> float:
        return timed(lambda: unlearn(model, parts, Idle(), task=Classification()))

    seconds = [once() for _ in range(repeats)]
    share = statistics.median(seconds) / 10
    return Row(
        "the runner: copy, seed, checks, timing",
        "under 1 % of a method of 10 s",
        f"{share:.2%}",
        share < 0.01,
        {"seconds": seconds},
    )


def auditing(scale: int, repeats: int) -> Row:
    """The share of an audit that a small CNN spends in its own forward pass."""
    n = 50_000 // scale
    x, y = torch.randn(n, 3, 32, 32), torch.randint(0, 10, (n,))
    test = TensorDataset(torch.randn(n // 5, 3, 32, 32), torch.randint(0, 10, (n // 5,)))
    parts = split(TensorDataset(x, y), Request(Samples(range(n // 10))), test=test)
    before, after = Timed(_cnn()), Timed(_cnn())
    outcome = Outcome.of(before, after, parts, task=Classification())
    metrics = [Membership(Threshold()), Accuracy(), Loss()]
    shares, seconds = [], []
    for _ in range(repeats):
        before.seconds = after.seconds = 0.0
        seconds.append(timed(lambda: audit(outcome, metrics)))
        shares.append((before.seconds + after.seconds) / seconds[-1])
    share = statistics.median(shares)
    return Row(
        f"auditing {n:,} training and {n // 5:,} test images of a small CNN, twice",
        "at least 80 % within the model's forward",
        f"{share:.0%}",
        share >= 0.8,
        {"share": shares, "seconds": seconds},
    )


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def main() -> None:
    """Measure, write, and show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller data, fewer repeats")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    given = parser.parse_args()
    scale, repeats = (10, 2) if given.quick else (1, 7)
    rows = [
        *batching(scale, repeats),
        runner(repeats),
        imports(repeats),
        help_text(repeats),
        steps(min(repeats, 3), quick=given.quick),
        halves(min(repeats, 3), quick=given.quick),
        pages(min(repeats, 5), quick=given.quick),
        auditing(scale, min(repeats, 3)),
    ]
    sys.stdout.write(write(rows, given.out, quick=given.quick))


if __name__ == "__main__":
    main()
