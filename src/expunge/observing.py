"""Ask a model about data once, so that every metric can reuse the answers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from expunge.batching import Batches
from expunge.errors import BatchUnreadable, Diverged, MissingInput
from expunge.splitting import Part, Split
from expunge.tasks import Kind, Task
from expunge.tasks.asking import understood
from expunge.tasks.reading import known_classes

BATCH = 512
"""Large enough to keep a forward pass busy, small enough to stay in a processor's caches."""


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What one model says about one part, sample by sample."""

    ids: Int[Tensor, " n"]
    logits: Float[Tensor, "n *c"]
    labels: Shaped[Tensor, "n *k"]
    kind: Kind = "classification"
    features: Mapping[str, Float[Tensor, "n d"]] = field(default_factory=dict)
    attributes: Mapping[str, Shaped[Tensor, " n"]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def losses(self) -> Float[Tensor, " n"]:
        """Cross-entropy, mean binary cross-entropy or squared error of every sample."""
        logits = self.logits.double()
        match self.kind:
            case "classification":
                return F.cross_entropy(logits, self.labels, reduction="none")
            case "multilabel":
                target = self.labels.double()
                losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
                return losses.flatten(1).mean(1)
            case "regression":
                error = logits.flatten() - self.labels.double().flatten()
                return error.square().reshape(len(self), -1).mean(1)

    @property
    def correct(self) -> Float[Tensor, " n"]:
        """One where the model is right; for several labels, the share that is."""
        match self.kind:
            case "classification":
                return (self.logits.argmax(1) == self.labels).double()
            case "multilabel":
                return ((self.logits > 0) == (self.labels > 0.5)).double().flatten(1).mean(1)
            case "regression":
                raise MissingInput("a regression is not right or wrong, so it has no accuracy")

    @property
    def accuracy(self) -> float:
        """Share of samples that the model gets right."""
        if len(self) == 0:
            raise MissingInput("there are no samples to be right about")
        return self.correct.mean().item()

    @property
    def probabilities(self) -> Float[Tensor, "n c"]:
        """Softmax of the logits."""
        if self.kind != "classification":
            raise MissingInput(f"class probabilities make no sense for a {self.kind} task")
        return self.logits.double().softmax(1)

    @property
    def confidence(self) -> Float[Tensor, " n"]:
        """Probability of the true class."""
        return self.probabilities.gather(1, self.labels[:, None]).squeeze(1)

    @property
    def phi(self) -> Float[Tensor, " n"]:
        """Logit of the true class's probability, from logits alone: finite where p is 1."""
        if self.kind != "classification":
            raise MissingInput(f"phi makes no sense for a {self.kind} task")
        logits = self.logits.double()
        own = logits.gather(1, self.labels[:, None]).squeeze(1)
        return own - logits.scatter(1, self.labels[:, None], -torch.inf).logsumexp(1)

    @property
    def ordered(self) -> "Observation":
        """The same in the order of the ids, so that models can be compared sample by sample."""
        return self.only(self.ids.argsort())

    def only(self, chosen: Shaped[Tensor, " m"]) -> "Observation":
        """The same for some of the samples: a mask, or positions."""
        return Observation(
            self.ids[chosen],
            self.logits[chosen],
            self.labels[chosen],
            self.kind,
            {name: value[chosen] for name, value in self.features.items()},
            {name: value[chosen] for name, value in self.attributes.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One model, seen on the three sets that matter."""

    forget: Observation
    retain: Observation
    test: Observation
    removed: tuple[int, ...] = ()  # the classes that left as a whole

    @property
    def test_removed(self) -> Observation:
        """The test set, where it is of a removed class."""
        found = self.test.only(self._is_removed())
        if len(found) == 0:
            raise MissingInput(f"the test set has no sample of the removed classes {self.removed}")
        return found

    @property
    def test_kept(self) -> Observation:
        """The test set, where it is of a retained class."""
        found = self.test.only(~self._is_removed())
        if len(found) == 0:
            raise MissingInput(f"the test set has removed classes {self.removed} alone")
        return found

    def about(self, ids: Int[Tensor, " k"]) -> "Snapshot":
        """The same with only these samples as the forget set."""
        named = torch.isin(self.forget.ids, ids)
        return Snapshot(self.forget.only(named), self.retain, self.test, self.removed)

    def only_of(self, label: int) -> Observation:
        """The test set, where it is of one class."""
        found = self.test.only(self.test.labels == label)
        if len(found) == 0:
            raise MissingInput(f"the test set has no sample of class {label}")
        return found

    def _is_removed(self) -> Tensor:
        if not self.removed:
            raise MissingInput("no class was removed, so the test set is not divided by class")
        if self.test.kind != "classification":
            raise MissingInput(f"the test set of a {self.test.kind} task is not divided by class")
        return torch.isin(self.test.labels, torch.tensor(self.removed))


def observe(
    model: nn.Module, batches: Batches, task: Task, *, features: bool = False
) -> Observation:
    """Ask ``model`` about every sample, in order."""
    seen: list[tuple[Tensor, Tensor, Tensor, Tensor | None]] = []
    with torch.inference_mode(), evaluating(model):
        for ids, batch in batches.indexed():
            with understood(model, batch, task):
                answer = task.answer(model, batch)
            kept = (
                answer.features.float().cpu() if features and answer.features is not None else None
            )
            labels = _tensor(task.labels(batch))
            seen.append((ids, answer.logits.detach().float().cpu(), labels.cpu(), kept))
    if not seen:
        return _nothing(task)
    _check_logits([(ids, logits) for ids, logits, _, _ in seen])
    labels = torch.cat([labels for _, _, labels, _ in seen])
    _check_classes(task, labels, seen[0][1])
    layer = str(getattr(task, "layer", "features"))
    kept_features = [rows for _, _, _, rows in seen if rows is not None]
    return Observation(
        torch.cat([ids for ids, _, _, _ in seen]),
        torch.cat([logits for _, logits, _, _ in seen]),
        labels.long() if task.kind == "classification" else labels,
        task.kind,
        {layer: torch.cat(kept_features)} if kept_features else {},
    )


def snapshot(model: nn.Module, split: Split, task: Task, *, features: bool = False) -> Snapshot:
    """Observe ``model`` on the three sets of ``split``."""
    device = device_of(model)

    def ask(part: Part) -> Observation:
        return observe(model, Batches(part, BATCH, device=device), task, features=features)

    return Snapshot(ask(split.forget), ask(split.retain), ask(split.test), split.removed)


def device_of(model: nn.Module) -> torch.device:
    """Where a model lives: the place of its first parameter or buffer, else the CPU."""
    for tensor in [*model.parameters(), *model.buffers()][:1]:
        return tensor.device
    return torch.device("cpu")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Lend the model in evaluation mode; give every module its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def untraced(model: nn.Module) -> Iterator[None]:
    """Normalise by the batch at hand, and let nothing of it stay in the running statistics."""
    norms: list[Any] = [m for m in model.modules() if getattr(m, "track_running_stats", False)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _tensor(labels: object) -> Tensor:
    if isinstance(labels, Tensor):
        return labels
    raise BatchUnreadable(
        f"the labels of a batch are a {type(labels).__name__}, not a tensor",
        hint="number the classes from 0, and let the dataset return the numbers.",
    )


def _check_classes(task: Task, labels: Tensor, logits: Tensor) -> None:
    if task.kind != "classification" or logits.ndim != 2 or labels.ndim != 1:
        return
    known_classes(labels, logits.shape[1])


def _check_logits(said: list[tuple[Tensor, Tensor]]) -> None:
    widths = {tuple(rows.shape[1:]) for _, rows in said}
    if len(widths) > 1:
        raise BatchUnreadable(f"the model's answers change their shape: {sorted(widths)}")
    broken = torch.cat(
        [ids[(~rows.isfinite()).reshape(len(rows), -1).any(1)] for ids, rows in said]
    )
    if len(broken):
        raise Diverged(
            f"the model answers {len(broken)} of {sum(len(ids) for ids, _ in said)} samples with "
            f"numbers that are not finite, the first at position {int(broken[0])} of its dataset",
            hint="look whether such samples are finite; else use a smaller learning rate, or a "
            "large finite number where a mask is infinite.",
        )


def _nothing(task: Task) -> Observation:
    none = torch.zeros(0, dtype=torch.long)
    return Observation(none, torch.zeros(0, 1), none, task.kind)
