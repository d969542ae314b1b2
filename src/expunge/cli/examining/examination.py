"""The examination as a whole."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from expunge.cli.confirming import confirm, entered
from expunge.cli.entering import entries, to_purge, unentered
from expunge.cli.examining.copies import look_for_copies, look_for_overlap
from expunge.cli.examining.data import Look, is_finite, look_at_data
from expunge.cli.examining.findings import Findings
from expunge.cli.guests import at
from expunge.cli.keys import Keys, examined
from expunge.cli.project import Project
from expunge.cli.purging import unclaimed
from expunge.cli.runs import abandoned
from expunge.cli.steps import divided
from expunge.errors import MissingInput
from expunge.progress import Progress
from expunge.request import Attribute, Request
from expunge.splitting import Data, Split
from expunge.tasks import Task

_FEW = 32  # samples: statistics over fewer are mostly noise
_SAID = 30  # positions at most that a command in a message names


@dataclass(frozen=True, slots=True)
class _Made:
    """What of a project could be made; None is what could not, and that was written down."""

    model: nn.Module | None
    train: Data | None
    test: Data | None
    task: Task | None


def examine(file: Path, request: Request | None, progress: Progress) -> Findings:
    """Look at everything that a run would need."""
    found = Findings(file.parent)
    keys, faults = examined(file)
    for fault in faults:
        found.add(file.name, fault.fact, fault.hint)
    with at(file.parent):
        progress("examine", 0, 3)
        project = Project(file, keys)
        made = _made(project, found)
        _look_at_places(keys, found)
        _look_at_runs(file, keys, found)
        found.attempt("cache", lambda: _look_at_cache(project, found))
        progress("examine", 1, 3)
        _look_at_all_data(made, found)
        progress("examine", 2, 3)
        if request is not None and made.train is not None and made.test is not None and made.task:
            _look_at_request(project, request, made, found)
        progress("examine", 3, 3)
    return found


def _made(project: Project, found: Findings) -> _Made:
    train = found.attempt("train", lambda: _not_empty("train", project.train))
    test = found.attempt("test", lambda: _not_empty("test", project.test))
    found.attempt("validation", lambda: project.validation)
    task = found.attempt("task", lambda: project.task)
    found.attempt("[audit] metrics", project.metrics)
    model = found.attempt("model", project.fresh)
    if model is not None:
        trained = found.attempt("weights", project.model)
        model = model if trained is None else trained
        _look_at_weights(model, found)
    if found.attempt("fit", project.recipe) is None and not project.keys.fit:
        found.notes.append("no fit is named: nothing is retrained, so no verdict can be reached.")
    return _Made(model, train, test, task)


def _not_empty(name: str, data: Data) -> Data:
    if len(data) == 0:
        raise MissingInput(f"{name} has no samples", hint="name a dataset that holds some.")
    return data


def _look_at_weights(model: nn.Module, found: Findings) -> None:
    broken = [name for name, value in model.state_dict().items() if not is_finite(value)]
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        found.add(
            "weights",
            f"not all numbers are finite in {', '.join(broken[:3])}{more}",
            "load a checkpoint from before the training run diverged.",
        )


def _look_at_places(keys: Keys, found: Findings) -> None:
    """A ledger wants its folder to be there; the other folders are made."""
    folders = keys.folders
    places = {
        "ledger": found.folder / folders.ledger,
        "runs": found.folder / folders.runs / "request",
        "cache": found.folder / folders.cache / "reference",
    }
    for name, place in places.items():
        above = place.absolute().parents
        nearest = above[0] if name == "ledger" else next(p for p in above if p.exists())
        if place.is_dir() or not nearest.is_dir() or not os.access(nearest, os.W_OK):
            blocked = place if place.is_dir() else nearest
            found.add(
                f"[folders] {name}",
                f"{getattr(folders, name)} cannot be written: look at {blocked}",
                "name another place, or make the folder and allow writing.",
            )


def _look_at_runs(file: Path, keys: Keys, found: Findings) -> None:
    """What killed runs left, half a folder or a whole one, and what was changed since its entry."""
    for left in abandoned(found.folder / keys.folders.runs):
        found.notes.append(f"{left} is what a killed run left, perhaps with a model: remove it.")
    known = found.attempt("runs and ledger", lambda: entries(file, keys))
    if known is None:
        return
    for folder, command in unentered(file, keys, known).items():
        found.notes.append(f"{folder} was never entered in the ledger: {command} enters it.")
    for folder, about in entered(file, keys, known).items():
        found.attempt("runs and ledger", partial(confirm, {folder: about}))


def _look_at_cache(project: Project, found: Findings) -> None:
    """Who was forgotten in models that no run left: no id of a request purges these."""
    folders = project.keys.folders
    shelves = unclaimed(found.folder / folders.runs, found.folder / folders.cache)
    for shelf, train, left in shelves:
        fact = f"{shelf} tells of {len(left)} forgotten samples that no run names"
        if found.attempt("train", lambda: project.train_digest) != train:
            way = "they are of another training set: remove the folder, which can be made again."
        elif len(left) > _SAID:
            way = "`expunge purge` with the --classes or --samples that were asked for removes it."
        else:
            way = f"{to_purge(left, project.file)} removes it."
        found.notes.append(f"{fact}, as compare, audit and killed runs leave them: {way}")


def _look_at_all_data(made: _Made, found: Findings) -> None:
    if made.task is None:
        return
    for name, data in (("train", made.train), ("test", made.test)):
        if data is not None:
            look_at_data(Look(name, data, made.task, made.model, found))
    if made.train is not None and made.test is not None:
        train, test, task = made.train, made.test, made.task
        found.attempt("train and test", lambda: look_for_overlap(train, test, task, found))


def _look_at_request(project: Project, request: Request, made: _Made, found: Findings) -> None:
    parts = found.attempt("request", lambda: divided(project, request))
    if parts is None or isinstance(request.target, Attribute):
        return
    found.attempt("request", lambda: look_for_copies(parts, project.task, found))
    if made.model is not None:
        _look_at_statistics(made.model, parts, found)


def _look_at_statistics(model: nn.Module, parts: Split, found: Findings) -> None:
    norms = [name for name, module in model.named_modules() if isinstance(module, _BatchNorm)]
    if norms and len(parts.forget) < _FEW:
        found.add(
            "request",
            f"the model has BatchNorm ({norms[0]}) and {len(parts.forget)} samples must go: "
            f"batches of so few would spoil its statistics",
            "choose a method that keeps BatchNorm fixed on the forget set.",
        )
