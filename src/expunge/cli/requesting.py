"""From options to a request."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from expunge.errors import BadSetting, CannotRead, MissingInput, RequestDoesNotFit
from expunge.request import Attribute, Classes, Request, Samples, Target

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def target_of(
    classes: Sequence[str] | None, samples: Sequence[str] | None, attributes: Sequence[str] | None
) -> Target:
    """What exactly one of three options names; one that is given twice names more."""
    given = [any(option or ()) for option in (classes, samples, attributes)]
    if sum(given) != 1:
        said = "nothing was named" if not any(given) else "more than one kind was named"
        raise MissingInput(
            f"what must be forgotten? {said}",
            hint="give one of --classes 7, --samples 3,14 (or @FILE), --attribute NAME.",
        )
    if classes:
        return Classes(_numbers(",".join(classes), "--classes"))
    if samples:
        return Samples(_numbers(",".join(map(_listed, samples)), "--samples"))
    return Attribute(_only([*dict.fromkeys(attributes or ())]))


def _only(names: Sequence[str]) -> str:
    if len(names) > 1:
        raise RequestDoesNotFit(
            f"--attribute names {' and '.join(map(repr, names))}, and a request is about one",
            hint="run again for the next, with weights = the model that the first run left; or in "
            "Python split(train, Request(...), Request(...)), which removes both at once.",
        )
    return names[0]


def request_of(target: Target, *, name: str = "", subject: str = "", reason: str = "") -> Request:
    """A request, under its own name if it was given one."""
    _check_nameless(subject, name, reason)
    if not name:
        return Request(target, subject=subject, reason=reason)
    check_id(name)
    return Request(target, subject=subject, id=name, reason=reason)


def dated(request: Request, received: datetime | None, due: datetime | None) -> Request:
    """The request with the dates that were named; a date without a zone is of this machine's."""
    return replace(
        request,
        received=received.astimezone() if received else request.received,
        due=due and due.astimezone(),
    )


def check_id(name: str) -> None:
    """Refuse an id that could lead out of the runs' folder."""
    if not _ID.fullmatch(name):
        raise BadSetting(
            f"{name!r} cannot be the id of a request",
            hint="use up to 64 letters, digits, dots, dashes and underscores: it names a folder.",
        )


def _check_nameless(subject: str, name: str, reason: str) -> None:
    """Say now what the ledger would refuse after all the work: it keeps no name in plain text."""
    for option, text in (("--id", name), ("--reason", reason)):
        if subject and subject.lower() in text.lower():
            raise BadSetting(
                f"{option} names the subject, whom the ledger keeps as a keyed hash only",
                hint=f"write {option} without the name.",
            )


def _listed(text: str) -> str:
    """The text itself, or that of the file after the @; what follows a # is a comment."""
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as why:
        raise CannotRead(
            f"{path} is not readable: {why}", hint="name a text file of positions after the @."
        ) from why
    return ",".join(line.partition("#")[0] for line in lines)


def _numbers(text: str, option: str) -> tuple[int, ...]:
    words = re.split(r"[,\s]+", text.strip(", \t\n"))
    wrong = [word for word in words if not re.fullmatch(r"[+-]?\d+", word)]
    if wrong:
        raise RequestDoesNotFit(
            f"{option} names {wrong[0]!r}, which is no whole number"
            if wrong[0]
            else f"{option} names nothing",
            hint=f"write numbers with commas between, such as {option} 3,14.",
        )
    return tuple(int(word) for word in words)
