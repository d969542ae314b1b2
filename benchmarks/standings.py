"""How a contest of methods is read: sorted by the gap to retraining, with its price."""

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any

from table import Row

from expunge.catalogue import find

Run = dict[str, Any]
Standing = tuple[Row, list[Run]]

HEAD = ["passes", "memory, MB"]
READING = """\
Values are means over seeds with their 95 % interval (Student's; of values that are all 0 or 1,
Clopper and Pearson's), or without one where all seeds agree; with one seed, the interval is that of
the test samples, and of relearning that of its runs. Brackets hold the ends of one that is longer
to one side. In parentheses: of seconds, time and steps the least and the most; of all else the
difference to the mean of the retrained models. *Retrained* is the mean of five models with seeds of
their own; a method that makes a model of its own kind stands beside five of that kind.

*Verdict* is what `expunge.judge` says of every seed; *degraded* is who is worse than retraining, by
accuracy or by loss, on what stays; with any seed, its point in the picture is hollow, whose colour
is the word that most seeds got. *Seconds* are those of the processor, on one thread; those of short
work are the median of five times. *Time* is their share of what retraining takes, which is measured
anew before every row; † marks what takes more than {cap:.0%} of it with any seed, even with the
effort that is named; such methods stand below the others. *Passes* counts operations, a forward
pass of the training set being one; *memory* is the peak beyond what was held before, model and data
not counted.
"""
POWER = "U-LiRA catches the original"
_GAP, _SHARP = "average gap (points)", "membership AUC, ulira (privacy)"


def ranked(standings: Sequence[Standing]) -> list[Standing]:
    """Those that hold to the time first; the smaller the gap, the earlier."""
    return sorted(standings, key=lambda each: (_over(each[1]), gap(each[1])))


def title(row: Row, runs: Sequence[Run]) -> str:
    """The name, with the effort that was given, and a mark where it takes too long."""
    if not row.effort:
        return row.name + (" †" if _over(runs) else "")
    given = sorted({run["settings"][row.effort] for run in runs})
    told = (
        f" ({row.effort} = {' to '.join(_number(x) for x in (given[0], given[-1])[: len(given)])})"
    )
    return row.name + told + (" †" if _over(runs) else "")


def verdicts(runs: Sequence[Run]) -> str:
    """The word, or how often each of several was said."""
    said: list[str] = [run["verdict"] for run in runs]
    words = sorted(set(said), key=lambda word: (-said.count(word), word))
    if len(words) == 1:
        return words[0]
    return "; ".join(f"{word}: {said.count(word)}" for word in words)


def word(runs: Sequence[Run]) -> str:
    """What was said most often, without what it cost."""
    said: list[str] = [run["verdict"].split(",")[0] for run in runs]
    return max(said, key=said.count)


def degraded(runs: Sequence[Run]) -> bool:
    """Whether it cost what stays, with any seed."""
    return any("degraded" in run["verdict"] for run in runs)


def power(runs: Sequence[Run]) -> str:
    """With how many seeds the sharper attack would have caught the row's original."""
    asked = [m for run in runs if (m := run["measurements"].get(_SHARP)) and m["value"] is not None]
    return f"{sum(m['power'] for m in asked)} of {len(asked)}" if asked else "-"


def price(runs: Sequence[Run]) -> list[str]:
    """Passes and memory."""
    held = [run["megabytes"] for run in runs if run["megabytes"] is not None]
    return [f"{mean(run['passes'] for run in runs):.3g}", f"{mean(held):.0f}" if held else "-"]


def exact(standings: Sequence[Standing]) -> Iterator[str]:
    """How far the exact methods are from the same training without the forgotten."""
    for row, runs in standings:
        apart = [run["apart"] for run in runs if run["apart"] is not None]
        if apart:
            head = hasattr(find("methods", row.method), "prepare")
            yield (
                f"- {row.name}: the largest difference of any weight{' of its head' * head} to the "
                f"same training without the forgotten is {max(apart):.2g}"
                f"{'; the layers before it knew them' * head}.\n"
            )


def blunt(standings: Sequence[Standing]) -> Iterator[str]:
    """Who was judged without the sharper attack, and why."""
    why: dict[str, list[str]] = {}
    for row, runs in standings:
        for reason in {run["without"] for run in runs if run["without"]}:
            why.setdefault(reason, []).append(row.name)
    for reason, names in why.items():
        yield f"- Judged without U-LiRA: {', '.join(names)}. {reason[0].upper()}{reason[1:]}.\n"


def share(runs: Sequence[Run]) -> float:
    """Of retraining's time."""
    shares: list[float] = [run["seconds"] / run["retraining_seconds"] for run in runs]
    return mean(shares)


def _over(runs: Sequence[Run]) -> bool:
    return any(run["over"] for run in runs)


def gap(runs: Sequence[Run]) -> float:
    """The mean distance to retrained models, in points."""
    gaps: list[float] = [run["measurements"][_GAP]["value"] for run in runs]
    return mean(gaps)


def _number(value: float) -> str:
    return f"{value:.2g}" if isinstance(value, float) else f"{value:,}"
