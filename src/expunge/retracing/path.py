"""Where the original stood before every recorded step: computed again, no sample being read.

Steps of SGD follow from where a history begins, from the gradients that it keeps, and from how the
optimizer was set. Gradients kept in bf16 let the path drift by about a thousandth of its length.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from expunge.algebra import bounds
from expunge.algebra.contraction import Motion, Pace, Scale, descend
from expunge.algebra.parameters import Block
from expunge.errors import HistoryDoesNotFit
from expunge.history import History, Start, Step


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """A step that the original made."""

    step: Step
    ids: Int[Tensor, " _"]  # every sample of it, of all its passes
    before: Motion
    after: Motion
    pace: Pace
    gradient: Float[Tensor, " k"]  # mean over the samples, without decay


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The last steps of a history, and the nearest model before them that was kept."""

    start: Start
    steps: Sequence[Step]  # from the start on
    lead: int  # how many of them come before the window, and only lead to it

    @classmethod
    def last(cls, history: History, count: int) -> "Window":
        """The last so many steps."""
        end = history.steps[-1].number + 1
        number = max(number for number in history.starts if number <= end - count)
        steps = history.steps[number - history.steps[0].number :]
        return cls(history.start(number), steps, len(steps) - count)

    @property
    def inside(self) -> Sequence[Step]:
        """The steps of the window itself."""
        return self.steps[self.lead :]


@dataclass(frozen=True, slots=True, eq=False)
class Ordered:
    """The parameters that the recorded optimizer moved, as one vector in its order."""

    block: Block
    groups: tuple[int, ...]  # numbers in every group

    @classmethod
    def of(cls, history: History, model: nn.Module) -> "Ordered":
        """Look the recorded names up in a model: those that ever learned."""
        parameters, still = dict(model.named_parameters()), history.still
        groups = [[name for name in names if name not in still] for names in history.groups]
        counts = [sum(parameters[name].numel() for name in names) for names in groups]
        named = {name: parameters[name] for names in groups for name in names}
        places = {n: torch.arange(p.numel(), device=p.device) for n, p in named.items()}
        return cls(Block(places), tuple(counts))

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters by name."""
        return tuple(self.block.positions)

    def vector(self, tensors: Mapping[str, Tensor], like: Tensor) -> Float[Tensor, " k"]:
        """These tensors end to end, zeros for what is not among them."""
        given = {name: value.detach().to(like).flatten() for name, value in tensors.items()}
        sizes = {name: len(at) for name, at in self.block.positions.items()}
        return torch.cat([given.get(n, like.new_zeros(size)) for n, size in sizes.items()])

    def place(self, model: nn.Module) -> Float[Tensor, " k"]:
        """Where a model stands."""
        return torch.cat([model.get_parameter(name).detach().flatten() for name in self.names])

    @torch.no_grad()
    def put(self, model: nn.Module, place: Float[Tensor, " k"]) -> None:
        """Let a model stand somewhere else."""
        pieces = place.split([len(at) for at in self.block.positions.values()])
        for name, piece in zip(self.names, pieces, strict=True):
            parameter = model.get_parameter(name)
            parameter.copy_(piece.view(parameter.shape))

    def spread(self, values: Sequence[float], like: Tensor) -> Scale:
        """One number a group as one a parameter; as a number where all groups agree."""
        if len(set(values)) == 1:
            return values[0]
        return torch.cat([like.new_full((n,), v) for n, v in zip(self.groups, values, strict=True)])

    def pace(self, step: Step, like: Tensor) -> Pace:
        """How the optimizer was set in a step."""

        def each(key: str) -> Scale:
            return self.spread([group[key] for group in step.settings], like)

        # Torch asks for dampening only where there is momentum.
        damped = [g["dampening"] if g["momentum"] else 0.0 for g in step.settings]
        return Pace(
            lr=each("lr"), momentum=each("momentum"), dampening=self.spread(damped, like),
            nesterov=each("nesterov"), decay=each("weight_decay"),
        )  # fmt: skip

    def begin(self, start: Start, like: Tensor) -> Motion:
        """Where the original stood and how it moved when a window's lead begins."""
        kept = start.optimizer["state"]
        buffers = {
            name: kept[place]["momentum_buffer"]
            for place, name in enumerate(self.names)
            if place in kept and isinstance(kept[place].get("momentum_buffer"), Tensor)
        }
        velocity = self.vector(buffers, like) if buffers else None
        return Motion(self.vector(start.model, like), velocity)


def rates(history: History, curvature: float) -> list[float]:
    """What every recorded step leaves of a difference, along a direction of this curvature."""
    return [max(_rate(group, curvature) for group in step.settings) for step in history.steps]


def _rate(group: Mapping[str, float], curvature: float) -> float:
    momentum = group["momentum"]
    return bounds.rate(
        group["lr"], curvature=curvature, momentum=momentum, nesterov=bool(group["nesterov"]),
        dampening=group["dampening"] if momentum else 0.0,
    )  # fmt: skip


def retrace(window: Window, ordered: Ordered, like: Float[Tensor, " k"]) -> Iterator[Passed]:
    """Every step from a window's start on, its lead too, in the precision of ``like``."""
    motion = ordered.begin(window.start, like)
    for step in window.steps:
        kept = step.gradient()
        if kept is None:
            raise HistoryDoesNotFit(
                f"the history keeps no gradient of step {step.number}",
                hint='record with gradients="bf16", or use mode="replay", which needs none.',
            )
        gradient, pace = ordered.vector(kept, like), ordered.pace(step, like)
        if len(kept) < len(ordered.names):  # torch leaves a parameter without gradient alone
            moved = ordered.vector({name: torch.ones_like(g) for name, g in kept.items()}, like)
            after = _held(motion, descend(motion, gradient, pace), moved.bool())
        else:
            after = descend(motion, gradient, pace)
        yield Passed(step, torch.cat(step.ids), motion, after, pace, gradient)
        motion = after


def _held(before: Motion, after: Motion, moved: Bool[Tensor, " k"]) -> Motion:
    """A step in which only some numbers moved; the others keep their velocity, too."""
    place = torch.where(moved, after.place, before.place)
    if after.velocity is None:
        return Motion(place, None)
    kept = torch.zeros_like(place) if before.velocity is None else before.velocity
    return Motion(place, torch.where(moved, after.velocity, kept))
