"""Small changes to a sample, so that what a network says about it can vary.

A sample and the weights are fixed, and nothing can be learnt from what never changes. So chance
is put in: a little noise on numbers, another token in a text, or what a user's function does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from expunge.errors import BadSetting
from expunge.tasks.reading import mapped

Perturb = Callable[[Any], Any]  # from the inputs of a batch to other inputs, sample by sample


@dataclass(frozen=True)
class Gaussian:
    """Independent normal noise on every number of the inputs."""

    deviation: float = 0.1

    def __call__(self, inputs: Any) -> Any:
        return mapped(inputs, self._noisy)

    def _noisy(self, leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            return leaf + self.deviation * torch.randn_like(leaf)
        return leaf


@dataclass(frozen=True)
class Tokens:
    """Other tokens in place of some; never of the first, and only where the model attends."""

    vocabulary: int  # ids from here on do not exist
    lowest: int = 0  # ids below this are not drawn: marks and unused places
    count: int = 1  # tokens that change in every sample

    def __call__(self, inputs: Any) -> Any:
        if isinstance(inputs, Mapping):
            name = "input_ids" if "input_ids" in inputs else _whole(inputs)
            attended = inputs.get("attention_mask")
            return {**inputs, name: self._changed(inputs[name], attended)}
        if isinstance(inputs, tuple):
            return (self._changed(inputs[0], None), *inputs[1:])
        return self._changed(inputs, None)

    def _changed(self, ids: Tensor, attended: Tensor | None) -> Tensor:
        free = torch.ones_like(ids, dtype=torch.bool) if attended is None else attended.bool()
        free = free.clone()
        free[:, 0] = False
        count = min(self.count, ids.shape[1])
        chance = torch.rand(ids.shape, device=ids.device).masked_fill(~free, -1.0)
        places = chance.topk(count).indices
        drawn = torch.randint(self.lowest, self.vocabulary, places.shape, device=ids.device)
        kept = ids.gather(1, places)
        return ids.scatter(1, places, torch.where(free.gather(1, places), drawn.to(ids), kept))


def perturbation(
    kind: Literal["auto", "gaussian", "tokens"] | Perturb,
    model: nn.Module,
    inputs: Any,
    *,
    deviation: float,
) -> Perturb:
    """What ``kind`` means for this model: by itself, noise for numbers and tokens for text."""
    if callable(kind):
        return kind
    whole = not _leaves(inputs, floating=True)
    text = whole or (isinstance(inputs, Mapping) and "input_ids" in inputs)
    if kind == "gaussian" or (kind == "auto" and not text):
        if whole:
            raise BadSetting(
                "the inputs hold no floating-point numbers, so noise cannot perturb them",
                hint="use perturb=tokens, or a function from inputs to other inputs.",
            )
        return Gaussian(deviation)
    return Tokens(_vocabulary(model))


def _vocabulary(model: nn.Module) -> int:
    for module in model.modules():
        if isinstance(module, nn.Embedding):  # the first: later ones know places and segments
            return module.num_embeddings
    raise BadSetting(
        "tokens are to be replaced, but the model has no embedding that says how many there are",
        hint="pass perturb=Tokens(vocabulary=...), or a function from inputs to other inputs.",
    )


def _whole(inputs: Mapping[str, Any]) -> str:
    found = [name for name, leaf in inputs.items() if _leaves(leaf, floating=False)]
    if found:
        return found[0]
    raise BadSetting(
        f"the inputs {list(inputs)} hold no whole numbers that could be tokens",
        hint="use perturb=gaussian, or a function from inputs to other inputs.",
    )


def _leaves(inputs: Any, *, floating: bool) -> list[Tensor]:
    found: list[Tensor] = []

    def look(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.is_floating_point() == floating:
            found.append(leaf)
        return leaf

    mapped(inputs, look)
    return found
