"""How well a network does after so many epochs, and how long they take on all cores.

Each number of epochs is a run of its own: a schedule ends where its rate is nothing. An epoch is
timed by itself, three times on as many batches as take half a minute, so that models of the cache
serve.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from figures import svg
from finding import Asked, Section, Stage
from table import Cell, grid

from expunge.algebra.statistics import Interval, clopper_pearson
from expunge.batching import Batches
from expunge.observing import observe
from expunge.pacing import threads, training
from expunge.problems import Problem
from expunge.splitting import Part

_PACE = "pace"


def parts(settings: Mapping[str, Any]) -> list[str]:
    """How long an epoch takes, and where so many lead."""
    return [_PACE, *(f"{count} epochs" for count in settings["epochs"])]


def measure(part: str, settings: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """Time some batches; or train, and ask about the test set."""
    if part == _PACE:
        problem, cores = _posed(settings, stage, 1), os.cpu_count() or 1
        everybody = Part.whole(problem.train)
        with threads(cores):  # a machine that slept, or did other work for a while, is one of three
            each = [training(problem.recipe, everybody, settings["budget"]) for _ in range(3)]
        took = [pace.seconds(len(everybody)) for pace in each]
        load = os.getloadavg()[0]
        return {"seconds": median(took), "each": took, "threads": cores, "load": load}
    problem = _posed(settings, stage, int(part.partition(" ")[0]))
    model = problem.trained(0, stage.cache)
    seen = observe(model, Batches(Part.whole(problem.test)), problem.task)
    return {"right": int(seen.correct.sum()), "asked": len(seen)}


def _posed(settings: Mapping[str, Any], stage: Stage, epochs: int) -> Problem:
    made = {**settings["problem"], "epochs": epochs}
    return Cell("", settings["name"], made, {}, (0,), ()).posed(stage.data, 0)


def section(found: Mapping[str, Any], settings: Mapping[str, Any]) -> Section:
    """Accuracy by epochs and minutes, as a table and as a curve."""
    reached = {
        count: clopper_pearson(each["right"], each["asked"])
        for count in settings["epochs"]
        if (each := found.get(f"{count} epochs"))
    }
    pace = found.get(_PACE)
    minutes = {count: count * pace["seconds"] / 60 for count in reached} if pace else {}
    body = [
        [f"{count}", f"{minutes[count]:.1f}" if minutes else "-", f"{_points(each.value)} %",
         f"{_points(each.low)} to {_points(each.high)}"]
        for count, each in reached.items()
    ]  # fmt: skip
    text = (
        settings["reading"] + "\n",
        grid(["epochs", "minutes", "test accuracy", "interval"], body),
        _timed(pace) if pace else "Not timed.\n",
    )
    asked = _asked(reached, minutes, settings["goal"]) if reached and minutes else ()
    return Section(text, tuple(asked), _drawn(reached) if reached else "")


def _timed(pace: Mapping[str, Any]) -> str:
    return (
        f"Minutes pass on the clock, with {pace['threads']} threads and a load of the machine of "
        f"{pace['load']:.1f}; one epoch was timed three times, and the median multiplied.\n"
    )


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _asked(
    reached: Mapping[int, Interval], minutes: Mapping[int, float], goal: Mapping[str, Any]
) -> Iterator[Asked]:
    told = f"reach {_points(goal['accuracy'])} % or more"
    if goal["epochs"] in reached:
        value = reached[goal["epochs"]].value
        yield Asked(f"{goal['epochs']} epochs {told}", f"{_points(value)} %",
                    value >= goal["accuracy"])  # fmt: skip
    claim, until = f"{goal['minutes']} minutes {told}", goal["minutes"]
    by_then = [count for count in reached if minutes[count] <= until]
    if not by_then:
        yield Asked(claim, "less than the shortest run takes", met=False)
        return
    last = max(by_then)
    value = reached[last].value
    yield Asked(claim, f"{_points(value)} % with {last} epochs", value >= goal["accuracy"])


def _drawn(reached: Mapping[int, Interval]) -> str:
    """Accuracy against epochs."""
    import altair as alt  # noqa: PLC0415 - only for the page

    points: Sequence[dict[str, float]] = [
        {"epochs": count, "accuracy": 100 * each.value, "low": 100 * each.low,
         "high": 100 * each.high}
        for count, each in reached.items()
    ]  # fmt: skip
    base = alt.Chart(alt.InlineData(values=points), width=480, height=280).encode(
        alt.X("epochs:Q").axis(tickCount=7)
    )
    curve = base.mark_line(point=True, color="#1f5f8b").encode(
        alt.Y("accuracy:Q", title="test accuracy, %").scale(zero=False)
    )
    spread = base.mark_rule(color="#1f5f8b", opacity=0.5).encode(alt.Y("low:Q"), alt.Y2("high:Q"))
    return svg(spread + curve)
