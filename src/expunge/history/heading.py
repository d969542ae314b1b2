"""What stands at the head of a history: who was trained, on how much, and how gradients lie."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.errors import CannotRead
from expunge.storing import read_json, write_json

NAME = "history.json"
KIND = "history"
CHANGED = "changed"  # instead of a digest: nobody has the model that the last step made

Gradients = Literal["none", "bf16", "fp32"]
Kind = Literal["sgd", "adamw"]

_TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True, slots=True)
class Layout:
    """The parameters that an optimizer moves, group by group, and their shapes in that order."""

    groups: tuple[tuple[str, ...], ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All parameters in the order of the groups."""
        return tuple(name for group in self.groups for name in group)

    @property
    def parameters(self) -> int:
        """How many numbers the optimizer moves."""
        return sum(prod(shape) for shape in self.shapes)

    def named(self, flat: Float[Tensor, " p"]) -> dict[str, Tensor]:
        """One vector of all parameters, cut into what is each one's."""
        pieces = flat.split([prod(shape) for shape in self.shapes])
        cut = zip(self.names, pieces, self.shapes, strict=True)
        return {name: piece.view(shape) for name, piece, shape in cut}


@dataclass(frozen=True, slots=True)
class Header:
    """What is the same for all steps of a history."""

    optimizer: Kind
    layout: Layout
    size: int  # samples in the dataset
    gradients: Gradients
    fresh: bool  # the optimizer had made no step before the first that was recorded
    run: str = ""  # what makes the run; empty: nobody will go on with it
    ended: str | None = None  # digest of the weights at the end; None: not known
    beside: tuple[str, ...] = ()  # what the run did that no history holds: augment, penalty
    token: str = ""  # of the tape that writes it; empty: none does

    @property
    def dtype(self) -> torch.dtype:
        """How gradients are stored."""
        return _TYPES.get(self.gradients, torch.float32)

    @property
    def slot(self) -> int:
        """Bytes that one step's gradient takes."""
        kept = self.gradients != "none"
        return self.layout.parameters * self.dtype.itemsize if kept else 0

    def save(self, folder: Path) -> None:
        """Write, or write anew."""
        write_json(folder / NAME, KIND, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "Header":
        """The header in a folder, or CannotRead."""
        if not (folder / NAME).is_file():
            raise CannotRead(
                f"{folder} holds no history",
                hint="check the path, or record one with `expunge.record` or Fit(record=...).",
            )
        body = {"beside": (), "token": ""} | read_json(folder / NAME, KIND)
        try:
            fields = {name: body[name] for name in cls.__dataclass_fields__}
            made = {"layout": _layout(body["layout"]), "beside": tuple(body["beside"])}
            header = cls(**fields | made)
            header._check()
        except (KeyError, TypeError, ValueError) as why:
            raise CannotRead(f"{folder / NAME} is not whole: {why}", hint="record again.") from why
        return header

    def _check(self) -> None:
        """Refuse what somebody changed by hand."""
        if self.optimizer not in get_args(Kind) or self.gradients not in get_args(Gradients):
            raise ValueError(f"optimizer {self.optimizer!r}, gradients {self.gradients!r}")
        if type(self.size) is not int or self.size < 0:
            raise ValueError(f"size {self.size!r}")
        if len(self.layout.names) != len(self.layout.shapes):
            raise ValueError("names and shapes are not as many")


def _layout(body: Mapping[str, list[list[str]]] | Mapping[str, list[list[int]]]) -> Layout:
    groups, shapes = (tuple(tuple(each) for each in body[key]) for key in ("groups", "shapes"))
    if not all(type(size) is int for shape in shapes for size in shape):
        raise ValueError(f"shapes {shapes}")
    return Layout(groups, shapes)  # type: ignore[arg-type]
