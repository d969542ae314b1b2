"""``expunge doctor``: everything that is wrong with a project, at once."""

from dataclasses import asdict

from typer import Exit

from expunge.cli.options import DEFAULT_CONFIG, AsJson, Config, Labels, Positions, Property
from expunge.cli.requesting import request_of, target_of
from expunge.cli.showing import emit, progressing, say


def doctor(
    *,
    classes: Labels = None,
    samples: Positions = None,
    attribute: Property = None,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """List everything that is wrong with the project at once, and what to do about it.

    Name what you mean to forget, and duplicates of it in the data are looked for too.
    """
    wanted = bool(classes or samples or attribute)
    request = request_of(target_of(classes, samples, attribute)) if wanted else None
    from expunge.cli.examining import examine  # noqa: PLC0415 - torch stays out of --help

    with progressing() as progress:
        found = examine(config, request, progress)
    if as_json:
        problems = [asdict(problem) for problem in found.problems]
        emit({"problems": problems, "notes": found.notes})
    else:
        for problem in found.problems:
            say(f"✕ {problem.where}: {problem.what}")
            if problem.hint:
                say(f"  {problem.hint}")
        for note in found.notes:
            say(f"· {note}")
        count = len(found.problems)
        say(f"{count} problem{'' if count == 1 else 's'} found." if count else "No problem found.")
    raise Exit(int(bool(found.problems)))
