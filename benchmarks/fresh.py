"""What is timed in processes of their own: starts, and how memory is kept."""

import statistics
import subprocess
import sys

from claims import Row, timed


def _said(*arguments: str) -> str:
    """What Python prints, in a process of its own."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def imports(repeats: int) -> Row:
    """`import expunge` and a use of it, after `import torch`, in fresh processes."""
    use = (
        "import torch, time; started = time.perf_counter(); import expunge; "
        "expunge.unlearn, expunge.split, expunge.Classification; "
        "print(time.perf_counter() - started)"
    )
    seconds = [float(_said("-c", use)) for _ in range(repeats)]
    extra = statistics.median(seconds)
    return Row(
        "`import expunge` and its first use, beyond `import torch`",
        "under 50 ms",
        f"{extra * 1000:.0f} ms",
        extra < 0.05,
        {"seconds": seconds},
    )


def help_text(repeats: int) -> Row:
    """`expunge --help`, which must not wait for torch."""
    seconds = [timed(lambda: _said("-m", "expunge", "--help")) for _ in range(repeats)]
    best = statistics.median(seconds)
    return Row("`expunge --help`", "under 0.5 s", f"{best:.2f} s", best < 0.5, {"seconds": seconds})


_STEPS = """
import sys, time, torch
from torch.nn import functional as F
from expunge.keeping import keep_freed
from expunge.problems.networks import resnet18

quick, ours = (word == "yes" for word in sys.argv[1:])
if ours:
    keep_freed()
model, size = resnet18(width=16), 32 if quick else 96
x, y = torch.randn(128, 3, size, size), torch.randint(0, 10, (128,))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(4):
    started = time.perf_counter()
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
print(time.perf_counter() - started)
"""


def steps(repeats: int, *, quick: bool) -> Row:
    """A step of a residual network in a process that keeps memory, and in one that does not."""

    def seconds(ours: str) -> float:
        return float(_said("-c", _STEPS, "yes" if quick else "no", ours))

    pairs = [(seconds("yes"), seconds("no")) for _ in range(repeats)]
    ours, theirs = map(list, zip(*pairs, strict=True))
    ratio = statistics.median(theirs) / statistics.median(ours)
    return Row(
        "a training step on 128 large pictures, with freed memory kept",
        "faster than without",
        f"{ratio:.1f} times",
        ratio > 1,
        {"ours_s": ours, "plain_s": theirs},
    )
