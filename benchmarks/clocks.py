"""How long it takes to be sure: an audit from nothing, and the self-test, each in its own process.

Seconds of the processor are those of the process and of all that it started; the wall clock also
waits for whatever else the machine does, so the load is told with it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from finding import Asked, Section, Stage, busy
from table import grid

if TYPE_CHECKING:
    from expunge.evidence import Tier

_LIMITS = {"audit of a class": 90, "audit of samples": 90, "selftest": 120}
_SHOWN = {
    "audit of a class": "digits, `standard`: train, forget a class, retrain 5 times, audit, judge",
    "audit of samples": "digits, `standard`: the same for 80 samples, with 16 shadow models too",
    "selftest": "`expunge selftest`",
}


def parts(settings: Mapping[str, Any]) -> list[str]:
    """What is timed."""
    return [*settings["timed"]]


def measure(part: str, settings: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """Run one command, and look at both clocks before and after."""
    del stage
    command = ["-m", "expunge", "selftest"]
    if part != "selftest":
        request = part.removeprefix("audit of ").removeprefix("a ")
        command = [__file__, request, str(settings["epochs"]), settings["tier"]]
    load = os.getloadavg()[0]
    before, started = busy(), time.perf_counter()
    with TemporaryDirectory() as empty:  # nothing that was cached is taken
        told = subprocess.run(
            [sys.executable, *command],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"EXPUNGE_CACHE": empty},
        )
    return {
        "process seconds": busy() - before,
        "wall seconds": time.perf_counter() - started,
        "load": load,
        "said": told.stdout.strip().splitlines()[-1:],
    }


def section(found: Mapping[str, Any], settings: Mapping[str, Any]) -> Section:
    """One row for each."""
    del settings
    body = [
        [_SHOWN[name], f"{told['process seconds']:.0f} s", f"{told['wall seconds']:.0f} s",
         f"{told['load']:.1f}", " ".join(told["said"])]
        for name, told in found.items()
    ]  # fmt: skip
    asked = tuple(
        Asked(
            f"{name} in {'at most' if limit == 90 else 'less than'} {limit} s, by the processor",
            f"{told['process seconds']:.0f} s of the processor, {told['wall seconds']:.0f} passed",
            told["process seconds"] <= limit,
        )
        for name, limit in _LIMITS.items()
        if (told := found.get(name))
    )
    head = ["what", "processor", "passed", "load of the machine", "it said"]
    return Section((_READING, grid(head, body)), asked)


def audited(request: str, epochs: int, tier: "Tier") -> str:
    """An audit from nothing; what it concludes."""
    import torch  # noqa: PLC0415 - the process that times does not need it

    from expunge import Classes, Request, Samples, audit, judge, split, unlearn  # noqa: PLC0415
    from expunge.methods.finetune import Finetune  # noqa: PLC0415
    from expunge.methods.retrain import Retrain  # noqa: PLC0415
    from expunge.problems.digits import digits  # noqa: PLC0415

    torch.set_num_threads(1)
    problem = digits(epochs=epochs)
    model = problem.trained()
    target = Classes((3,)) if request == "class" else Samples(range(80))
    parts = split(problem.train, Request(target), test=problem.test)
    method = Retrain(problem.recipe) if request == "class" else Finetune()
    outcome = unlearn(model, parts, method, task=problem.task)
    with TemporaryDirectory() as cache:
        evidence = audit(outcome, tier=tier, recipe=problem.recipe, cache=cache)
    return judge(evidence).word


if __name__ == "__main__":
    sys.stdout.write(audited(sys.argv[1], int(sys.argv[2]), cast("Tier", sys.argv[3])) + "\n")


_READING = """\
One run each, on one core of a machine that did other work too: seconds of the processor are what it
takes, and are held against what was asked; those that passed are what it took beside the others. No
audit here has a rehearsal.
"""
