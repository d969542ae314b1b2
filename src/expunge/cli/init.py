"""``expunge init``: a commented expunge.toml to fill in."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from expunge.cli.options import AsJson
from expunge.cli.showing import emit, say
from expunge.errors import CannotWrite


def init(
    folder: Annotated[Path, Argument(help="Where the project is.", metavar="FOLDER")] = Path(),
    *,
    force: Annotated[bool, Option("--force", help="Replace an expunge.toml.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a commented expunge.toml that names your model and your data."""
    from expunge.storing import write_text  # noqa: PLC0415 - torch stays out of --help

    path = folder / "expunge.toml"
    if path.exists() and not force:
        raise CannotWrite(f"{path} exists already", hint="edit it, or replace it with --force.")
    write_text(path, template())
    if as_json:
        emit({"written": str(path)})
        return
    say(f"Wrote {path}. Fill in the names of your model and data, then run `expunge doctor`.")


def template() -> str:
    """The file that `init` writes."""
    return files("expunge.cli").joinpath("template.toml").read_text(encoding="utf-8")
