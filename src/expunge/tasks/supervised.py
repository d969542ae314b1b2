"""What the three ready tasks share: where inputs, labels, attributes and features are found."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from expunge.accounting import as_json
from expunge.tasks.layers import AUTO, answered
from expunge.tasks.reading import call, first, joined, named_attribute, replaced, second
from expunge.tasks.task import Answer, Batch, Kind


@dataclass(frozen=True)
class Supervised(ABC):
    """A batch holds inputs and labels; fields say where, and which layer is the representation."""

    layer: str = AUTO
    inputs: Callable[[Batch], Any] = first
    labels: Callable[[Batch], Shaped[Tensor, "n *k"]] = second
    attributes: Mapping[str, Callable[[Batch], Tensor]] = field(default_factory=dict)

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """Which family of answers this is."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, /) -> Float[Tensor, " n"]:
        """One loss a sample."""

    def answer(self, model: nn.Module, batch: Batch, /) -> Answer:
        """Logits and features, from one forward pass."""
        return answered(model, self.layer, lambda: call(model, self.inputs(batch)))

    def with_inputs(self, batch: Batch, x: Any, /) -> Batch:
        """The same batch with other inputs."""
        return replaced(batch, self.inputs(batch), x)

    def attribute(self, batch: Batch, name: str, /) -> Shaped[Tensor, " n"]:
        """A property of every sample, by name."""
        return named_attribute(self.attributes, batch, name)

    def describe(self) -> dict[str, Any]:
        """The settings as JSON, and the kind: two tasks may differ in nothing else."""
        settings = {item.name: as_json(getattr(self, item.name)) for item in fields(self)}
        return {"kind": self.kind} | settings

    def join(self, a: Batch, b: Batch, /) -> Batch:
        """One batch that holds the samples of both."""
        return joined(a, b)
