"""``python -m expunge`` and the console script ``expunge``."""

import signal
import sys
import traceback

from expunge.errors import ExpungeError
from expunge.keeping import keep_freed

STOPPED = 130
"""The exit code of a command that the user stopped, by the shells' convention."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command; a fault that expunge foresaw is told in two lines and ends with 2."""
    given = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end is as clean as Ctrl-C
    keep_freed()
    try:
        _call(given)
    except ExpungeError as why:
        _failed(why, given)
    except KeyboardInterrupt:
        _stopped()
    except Exception as why:  # noqa: BLE001 - the outermost border: 1 would read as a verdict
        traceback.print_exc()
        _failed(_unforeseen(why), given)


def _unforeseen(why: Exception) -> ExpungeError:
    return ExpungeError(
        f"{type(why).__name__}: {why}",
        hint="`expunge doctor` tries every part of the project; the traceback is on stderr.",
    )


def _failed(why: ExpungeError, given: list[str]) -> None:
    from expunge.cli.showing import fault  # noqa: PLC0415 - needed when something went wrong

    fault(why, as_json="--json" in given)
    sys.exit(2)


def _call(given: list[str]) -> None:
    from expunge.cli.app import app  # noqa: PLC0415 - Ctrl-C may come while it is imported

    try:
        app(given, prog_name="expunge")
    except SystemExit as end:
        if end.code == STOPPED:  # typer has swallowed a KeyboardInterrupt
            _stopped()
        raise


def _stopped() -> None:
    sys.stderr.write("stopped; no half-written file remains.\n")
    sys.exit(STOPPED)


if __name__ == "__main__":
    main()
