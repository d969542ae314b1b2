"""A project: the objects that expunge.toml names."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from expunge.batching import data_digest
from expunge.catalogue import default_attack, find
from expunge.cli.guests import at, blaming, resolved, watched
from expunge.cli.keys import ADDRESSES, Keys, read
from expunge.cli.runs import members_beside
from expunge.cli.settings import build
from expunge.erasing import restored
from expunge.errors import BadSetting, MissingInput, ModelDoesNotFit
from expunge.fitting import Fit
from expunge.metric import Metric
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.reheading import recall
from expunge.seeding import seeded
from expunge.splitting import Data
from expunge.storing import load_tensors
from expunge.tasks import Classification, Task


@dataclass(frozen=True, eq=False)
class Project:
    """What a project's file names, made when it is asked for, and once."""

    file: Path
    keys: Keys

    @property
    def folder(self) -> Path:
        """Where the file is, and the user's modules."""
        return self.file.parent

    def place(self, path: str) -> Path:
        """A path of the file, from its folder."""
        return self.folder / path

    def fresh(self) -> nn.Module:
        """A model as ``model`` builds it, untrained."""
        found = self._called("model")
        if not isinstance(found, nn.Module):
            raise BadSetting(
                f'model = "{self.keys.model}" gives {_a(found)}, not a torch.nn.Module',
                hint="name a function without arguments that returns a fresh model.",
            )
        return found

    @cached_property
    def builder(self) -> Any:
        """What the file names as ``model``."""
        return self._object("model")

    def describe(self) -> dict[str, Any]:
        """What `fresh` hangs on: no other key of the file tells one model from another."""
        return {"builder": self.builder}

    def model(self, weights: Path | None = None) -> nn.Module:
        """A model with its weights: those of the project, or of another file."""
        if weights is None and not self.keys.weights:
            raise MissingInput(
                f"{self.file} names no weights",
                hint='add weights = "model.safetensors", the file that training left.',
            )
        path = self.place(self.keys.weights) if weights is None else weights
        with seeded(0):
            model = self.fresh()
        return with_weights(model, path)

    @cached_property
    def train(self) -> Data:
        """What the model was trained on."""
        return self._data("train")

    @cached_property
    def train_digest(self) -> str:
        """What tells it from every other training set, as runs and shelves name it."""
        with seeded(0):  # data with random transforms draw numbers
            return data_digest(self.train)

    @cached_property
    def test(self) -> Data:
        """What it never saw."""
        return self._data("test")

    @cached_property
    def validation(self) -> Data | None:
        """What a method may look at, if anything."""
        return self._data("validation") if self.keys.validation else None

    @cached_property
    def task(self) -> Task:
        """How to read batches and answers."""
        if not self.keys.task:
            return Classification()
        found = self._object("task")
        if isinstance(found, type) or not isinstance(found, Task):
            found = self._called("task")
        if not isinstance(found, Task):
            raise BadSetting(
                f'task = "{self.keys.task}" gives {_a(found)}, which is no task',
                hint="use Classification(...), MultiLabel(...) or Regression(...) of expunge.",
            )
        return found

    def recipe(self, progress: Progress = quiet) -> Recipe | None:
        """How the model came to be, if the project says."""
        if not self.keys.fit:
            return None
        fit = self._object("fit")
        if isinstance(fit, type) or not callable(fit):
            raise BadSetting(
                f'fit = "{self.keys.fit}" names {_a(fit)}, which cannot be called with a model',
                hint="name a function fit(model, dataset) -> model, or an expunge.Fit(...).",
            )
        if isinstance(fit, Fit) and fit.progress is quiet:
            fit = replace(fit, progress=progress)
        return Recipe(self.fresh, fit, name=self.keys.name)

    def metrics(self) -> list[Metric] | None:
        """What to measure, if the project chooses."""
        if self.keys.audit.metrics is None:
            return None
        from expunge.attack import Attack  # noqa: PLC0415 - only where a metric is chosen

        given = {Attack: default_attack()}
        found = [build(find("metrics", name), {}, given) for name in self.keys.audit.metrics]
        return [_building(metric, self.fresh) for metric in found]

    def _data(self, key: str) -> Data:
        found = self._object(key)
        found = found if _is_data(found) else self._called(key)
        if not _is_data(found):
            raise BadSetting(
                f'{key} = "{getattr(self.keys, key)}" gives {_a(found)}, '
                f"which cannot be read by position",
                hint="use a map-style dataset: one with __len__ and __getitem__.",
            )
        data: Data = found
        return data

    def _object(self, key: str) -> Any:
        address = getattr(self.keys, key)
        if not address:
            raise MissingInput(
                f"{self.file} names no {key}", hint=f'add {key} = "module:name" to it.'
            )
        with blaming(key, address, self.folder):
            return resolved(address)

    def _called(self, key: str) -> Any:
        found = self._object(key)
        if not callable(found):
            return found
        with blaming(key, getattr(self.keys, key), self.folder):
            return found()


@contextmanager
def opened(file: Path) -> Iterator[Project]:
    """Lend a project; its modules can be imported meanwhile, and are named when they fail."""
    keys = read(file)
    project = Project(file, keys)
    named = {key: getattr(keys, key) for key in ADDRESSES}
    with at(project.folder), watched(project.folder, named):
        yield project


def with_weights(model: nn.Module, path: Path) -> nn.Module:
    """Fill a model with the weights of a file, or say which of them do not fit."""
    tensors, _ = load_tensors(path)
    model = restored(model, tensors)
    recall(model, tensors, members_beside(path, tensors))
    tensors |= _tied(model, tensors)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    wrong = [_misfit(name, wanted, found) for name in sorted({*wanted, *found})]
    wrong = [text for text in wrong if text]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ModelDoesNotFit(
            f"{path} does not fit the model: {'; '.join(wrong[:3])}{more}",
            hint="build the model as it was trained, or name the weights of this one.",
        )
    model.load_state_dict(tensors)
    return model.eval()


def _tied(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that a file holds under one of several names only, as safetensors writes them."""
    place = {n: (v.data_ptr(), v.shape, v.stride()) for n, v in model.state_dict().items()}
    kept = {place[name]: value for name, value in tensors.items() if name in place}
    return {n: kept[at] for n, at in place.items() if n not in tensors and at in kept and at[0]}


def _misfit(name: str, wanted: dict[str, Any], found: dict[str, Any]) -> str:
    if name not in found:
        return f"{name} is missing from the file"
    if name not in wanted:
        return f"the model has no {name}"
    if wanted[name] != found[name]:
        return f"{name} has shape {found[name]} in the file and {wanted[name]} in the model"
    return ""


def _building(metric: Metric, fresh: Callable[[], nn.Module]) -> Metric:
    """The metric, which may build untrained models if it wants any."""
    if not any(item.name == "build" for item in fields(metric)):
        return metric
    change: dict[str, Any] = {"build": fresh}
    return replace(metric, **change)


def _is_data(found: Any) -> bool:
    """Whether it can be read by position; a Sequential could be, but is a model."""
    if isinstance(found, (type, nn.Module)):
        return False
    return hasattr(found, "__getitem__") and hasattr(found, "__len__")


def _a(found: Any) -> str:
    return f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
