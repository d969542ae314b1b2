"""What a task is: the questions every method and metric asks of a model and a batch."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, Protocol, runtime_checkable

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from expunge.errors import MissingInput

Batch = Any
Kind = Literal["classification", "multilabel", "regression"]


_MAKE = (
    "make the layer whose output they are a module, such as nn.Linear, and let the model call it; "
    "then pass the task layer=..., its name."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says about a batch, and the representation it said it from."""

    logits: Float[Tensor, "n *c"]
    features: Float[Tensor, "n d"] | None = None  # None: the task's layer is not to be found
    layers: tuple[str, ...] = ()  # the names that could be meant instead
    layer: str = ""  # the name that was looked for

    @property
    def embedding(self) -> Float[Tensor, "n d"]:
        """The features, or MissingInput with the layers that could be named."""
        if self.features is not None:
            return self.features
        close = get_close_matches(self.layer, self.layers, n=1)
        known = f"known: {list(self.layers)}." if self.layers else _MAKE
        if self.layer != "auto":
            raise MissingInput(
                f"features are needed, but no layer of the model is named {self.layer!r}",
                hint=f"did you mean {close[0]!r}?" if close else known,
            )
        if not self.layers:
            raise MissingInput(
                "features are needed, but the model calls no layer that could give them",
                hint=_MAKE,
            )
        raise MissingInput(
            "features are needed, but the input of the model's last Linear was not to be found",
            hint=f"pass the task layer=..., one of {list(self.layers)}.",
        )


@runtime_checkable
class Task(Protocol):
    """How to read a batch and a model. Any object that answers these questions is a task."""

    @property
    def kind(self) -> Kind:
        """Which family of answers this is; metrics choose by it."""

    def answer(self, model: nn.Module, batch: Batch, /) -> Answer:
        """Logits and features, from one forward pass."""

    def inputs(self, batch: Batch, /) -> Any:
        """The part of the batch that the model reads."""

    def with_inputs(self, batch: Batch, x: Any, /) -> Batch:
        """The same batch with other inputs."""

    def labels(self, batch: Batch, /) -> Shaped[Tensor, "n *c"]:
        """The part of the batch that the model should have said."""

    def loss(self, model: nn.Module, batch: Batch, /) -> Float[Tensor, " n"]:
        """One loss a sample; callers choose the mean or the sum."""

    def attribute(self, batch: Batch, name: str, /) -> Shaped[Tensor, " n"]:
        """A property of every sample, by name."""

    def join(self, a: Batch, b: Batch, /) -> Batch:
        """One batch that holds the samples of both."""
