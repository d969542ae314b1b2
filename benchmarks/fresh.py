"""What is timed in processes of their own: starts, how memory is kept, and half precision."""

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping

from claims import Row, timed
from machine import MACHINE

from expunge.keeping import LARGE_PAGES
from expunge.precision import bf16_pays
from expunge.problems.networks import resnet18


def _said(*arguments: str, also: Mapping[str, str] | None = None) -> str:
    """What Python prints, in a process of its own, with so much more in its environment."""
    command, environment = [sys.executable, *arguments], os.environ | (also or {})
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout


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
    small = dict.fromkeys(LARGE_PAGES, "0")

    def seconds(ours: str) -> float:
        return float(_said("-c", _STEPS, "yes" if quick else "no", ours, also=small))

    pairs = [(seconds("yes"), seconds("no")) for _ in range(repeats)]
    return _faster("a training step on 128 large pictures, with freed memory kept", pairs)


def _faster(claim: str, pairs: list[tuple[float, float]]) -> Row:
    """Seconds with something beside seconds without it."""
    ours, theirs = map(list, zip(*pairs, strict=True))
    ratio = statistics.median(theirs) / statistics.median(ours)
    raw = {"ours_s": ours, "plain_s": theirs}
    return Row(claim, "faster than without", f"{ratio:.2f} times", ratio > 1, raw)


_BOUNDS = {
    "amx_bf16": "AVX512_CORE_AMX",
    "avx512_bf16": "AVX512_CORE_BF16",
    "avx512_f": "AVX512_CORE",
}
"""Instructions, and what the library of convolutions calls these and all before them."""

_PASSES = """
import sys, time, torch
from torch.nn import functional as F
from expunge.keeping import keep_freed
from expunge.precision import channels_last, half
from expunge.problems.networks import resnet18

quick, halved = (word == "yes" for word in sys.argv[1:])
torch.set_num_threads(1)
keep_freed()
model = channels_last(resnet18(width=16))
x, y = torch.randn(128, 3, 32, 32), torch.randint(0, 10, (128,))
x = x.to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, fused=True)
seconds = []
for step in range(4 if quick else 14):
    started = time.process_time()
    with half(model, enabled=halved):
        loss = F.cross_entropy(model(x).float(), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    seconds.append(time.process_time() - started)
print(sorted(seconds)[len(seconds) // 2])
"""


def _step(*, quick: bool, halved: bool, also: Mapping[str, str]) -> float:
    """Seconds of the processor for a step of ResNet-18, 16 wide, on one thread."""
    words = ("yes" if word else "no" for word in (quick, halved))
    return float(_said("-c", _PASSES, *words, also=also))


def halves(repeats: int, *, quick: bool) -> Row:
    """Half precision against full, where the processor may use only some of its instructions."""
    raw: dict[str, list[float]] = {}
    for name, bound in _BOUNDS.items():
        if name.upper() not in MACHINE:
            continue
        also = {"ONEDNN_MAX_CPU_ISA": bound}
        pairs = [
            [_step(quick=quick, halved=halved, also=also) for halved in (False, True)]
            for _ in range(repeats)
        ]
        raw[name] = [full / half for full, half in pairs]
    gains = {name: statistics.median(each) for name, each in raw.items()}
    told = ", ".join(f"{gain:.2f} with no more than {name}" for name, gain in gains.items())
    chosen = bf16_pays(resnet18(width=16))
    return Row(
        "a step of ResNet-18 in bf16, in times as fast as in full precision",
        "chosen here if it is faster here",
        f"{told or 'not tried'}; {'chosen' if chosen else 'not chosen'}",
        chosen == (next(iter(gains.values()), 0) > 1),
        raw,
    )


def pages(repeats: int, *, quick: bool) -> Row:
    """A step with tensors in large pages, and in small ones."""
    small = dict.fromkeys(LARGE_PAGES, "0")

    def seconds(also: Mapping[str, str]) -> float:
        return _step(quick=quick, halved=True, also=also)

    pairs = [(seconds(LARGE_PAGES), seconds(small)) for _ in range(repeats)]
    return _faster("a step of ResNet-18 in bf16, with memory in large pages", pairs)
