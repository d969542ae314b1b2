"""All commands, in the order in which a newcomer meets them."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

from typer import Exit, Option, Typer

from expunge.cli.audit import audit
from expunge.cli.compare import compare
from expunge.cli.demo import demo
from expunge.cli.doctor import doctor
from expunge.cli.init import init
from expunge.cli.ledger import ledger
from expunge.cli.plugins import attacks, methods, metrics
from expunge.cli.purge import purge
from expunge.cli.report import report
from expunge.cli.run import run
from expunge.cli.selftest import selftest
from expunge.cli.showing import say

app = Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Start": (demo, init, doctor, selftest),
    "Forget": (run, compare, purge),
    "Evidence": (audit, report),
    "Parts": (methods, metrics, attacks),
}

for panel, commands in _PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(ledger, name="ledger", rich_help_panel="Evidence")


def _version(wanted: bool) -> bool:  # noqa: FBT001 - typer calls it so
    if wanted:
        say(f"expunge {version('expunge')}")
        raise Exit
    return wanted


@app.callback()
def expunge(
    *,
    version: Annotated[
        bool, Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take people, records, classes and attributes back out of trained models, with evidence."""
