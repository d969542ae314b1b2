"""``expunge selftest``: the whole audit on models of which is known what it must say."""

from typing import TYPE_CHECKING

from typer import Exit

from expunge.cli.options import AsJson, Seed
from expunge.cli.showing import emit, progressing, say, table

if TYPE_CHECKING:
    from expunge.selftesting import Control


def selftest(*, seed: Seed = 0, as_json: AsJson = False) -> None:
    """Audit controls on bundled data: what retrained must pass, and what only hides must not.

    It needs no data and no project, takes under two minutes, and ends with 1 if a control fails.
    """
    from expunge.pacing import threads  # noqa: PLC0415 - torch stays out of --help
    from expunge.selftesting import selftest as controls  # noqa: PLC0415 - see above

    with progressing() as progress, threads(1):
        found = controls(seed=seed, progress=progress)
    failed = [control for control in found if not control.passed]
    if as_json:
        emit({"passed": not failed, "controls": [_body(control) for control in found]})
    else:
        _tell(found)
    raise Exit(int(bool(failed)))


def _tell(found: "tuple[Control, ...]") -> None:
    columns = ["removed", "model", "must be", "is", "", "time"]
    table(columns, [_row(control) for control in found])
    failed = [control for control in found if not control.passed]
    for control in failed:
        say(f"{control.removed}, {control.model}:")
        for reason in control.verdict.reasons:
            say(f"  - {reason}")
    say(
        f"{len(failed)} of {len(found)} controls failed: do not trust audits of this installation."
        if failed
        else f"All {len(found)} controls passed: this installation tells forgotten from hidden."
    )


def _row(control: "Control") -> list[str]:
    from expunge.reporting.numbers import duration  # noqa: PLC0415 - torch stays out of --help

    word = control.verdict.word + (", degraded" if control.verdict.degraded else "")
    mark = "✓" if control.passed else "✕ failed"
    return [
        control.removed, control.model, control.expected, word, mark, duration(control.seconds)
    ]  # fmt: skip


def _body(control: "Control") -> dict[str, object]:
    return {
        "removed": control.removed,
        "model": control.model,
        "expected": control.expected,
        "word": control.verdict.word,
        "degraded": control.verdict.degraded,
        "passed": control.passed,
        "reasons": list(control.verdict.reasons),
        "seconds": control.seconds,
    }
