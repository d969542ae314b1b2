"""Cut a model into modules between which no gradient passes, each trained by a loss of its own.

While the model runs, every module ends with its own backward pass, and hands on what it found
without the history: memory is needed for one module at a time. A cut is worth nothing where another
way leads around it. So the graph of one pass is searched: whatever lies before a cut must be
reached through it alone. Inputs that are numbers are in the graph; those that are not, words say,
come into it by embedding layers, which count as one way in. Who makes numbers of them without such
a layer is not seen through.

Modules as in Wang, Ni, Song, Yang and Huang, Revisiting Locally Supervised Learning: an Alternative
to End-to-end Training, 2021.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from expunge.errors import BadSetting, ModelDoesNotFit, UnknownName
from expunge.observing import evaluating
from expunge.tasks import Batch, Task
from expunge.tasks.reading import mapped

At = Callable[[int, Tensor], None]
"""What to do with what comes to a cut: the number of the cut, and the features."""

Node = Any
"""A node of the graph that autograd keeps; torch has no public name for its type."""


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """After which layers a model is cut, and the shape of what it answers about a sample."""

    layers: Mapping[str, nn.Module]  # by name, in the order in which they run
    answers: torch.Size

    def __len__(self) -> int:
        return len(self.layers)

    @contextmanager
    def open(self, at: At) -> Iterator[None]:
        """Let no gradient pass, and hand what comes to a cut to ``at``."""
        handles = [
            layer.register_forward_hook(partial(_cut, at, k))
            for k, layer in enumerate(self.layers.values())
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def cuts(model: nn.Module, task: Task, batch: Batch, wanted: int | Sequence[str]) -> Cuts:
    """Cuts after the layers that are named, or so many that share out what is kept for backward."""
    run = _run(model, task, batch)
    if isinstance(wanted, int):
        chosen = _shared(run, wanted)
    else:
        chosen = [place.name for place in run.places if place.name in wanted]
        for name in wanted:
            _check(name, run, model)
    return Cuts({name: model.get_submodule(name) for name in chosen}, run.answers)


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """After one layer, in the order in which they run."""

    name: str
    node: Node | None  # None: no gradient reaches it
    kept: int  # numbers that all leaves up to here gave
    runs: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One pass of a model, up to its features."""

    places: tuple[_Place, ...]
    end: Node | None
    features: Node | None
    answers: torch.Size

    def bypassed(self, place: _Place) -> bool:
        """Whether the answers reach what lies before a place by another way."""
        before = _behind(place.node)
        return bool(_behind(self.end, but=place.node) & before)

    def holds(self, place: _Place) -> bool:
        """Whether the model can be cut here."""
        inner = place.node is not None and place.node is not self.features and place.runs == 1
        return inner and place.node in _behind(self.features) and not self.bypassed(place)


def _cut(at: At, k: int, _module: nn.Module, _args: Any, output: Tensor) -> Tensor:
    at(k, output)
    return output.detach()


def _run(model: nn.Module, task: Task, batch: Batch) -> _Run:
    seen: list[tuple[str, Node | None, int]] = []

    def keep(name: str, module: nn.Module, _args: Any, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return output
        before = any(node is output.grad_fn and not n.startswith(f"{name}.") for n, node, _ in seen)
        if before:  # who hands on what it gets has a way of its own
            output = output * 1.0
        new = not before and not any(module.children())
        seen.append((name, output.grad_fn, output.numel() if new else 0))
        return output

    named = [(name, module) for name, module in model.named_modules() if name]
    handles = _opened(model, len(task.labels(batch)))
    handles += [m.register_forward_hook(partial(keep, name)) for name, m in named]
    try:
        with torch.enable_grad(), evaluating(model):
            answer = task.answer(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    names, places, total = [name for name, *_ in seen], [], 0
    for name, node, size in seen:
        total += size
        places.append(_Place(name, node, total, names.count(name)))
    end, features = answer.logits.grad_fn, answer.embedding.grad_fn
    return _Run(tuple(places), end, features, answer.logits.shape[1:])


def _opened(model: nn.Module, samples: int) -> list[RemovableHandle]:
    """Let the graph know of all that a model is given: of numbers, and of whatever is embedded."""
    source = torch.zeros((), requires_grad=True)

    def lead(leaf: Any) -> Any:
        number = isinstance(leaf, Tensor) and leaf.is_floating_point()
        return leaf.detach().requires_grad_().clone() if number else leaf

    def give(_module: nn.Module, args: Any, named: Any) -> Any:
        return mapped(args, lead), mapped(named, lead)

    def embed(layer: nn.Module, args: Any, named: Any, output: Tensor) -> Tensor:
        given = [each.shape for each in (*args, *named.values()) if isinstance(each, Tensor)]
        bag = isinstance(layer, nn.EmbeddingBag)
        own = not bag and not any(samples in shape for shape in given)  # positions, say
        return output if own else output + source.to(output)

    layers = [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
    handles = [model.register_forward_pre_hook(give, with_kwargs=True)]
    return handles + [m.register_forward_hook(embed, with_kwargs=True) for m in layers]


def _shared(run: _Run, count: int) -> list[str]:
    whole = max((place.kept for place in run.places), default=0)
    free = [place for place in run.places if run.holds(place)]
    chosen: list[_Place] = []
    for k in range(1, count + 1):
        rest = [place for place in free if not chosen or place.kept > chosen[-1].kept]
        if not rest:
            raise ModelDoesNotFit(
                f"the model cannot be cut {count} times: gradients would pass around all but "
                f"{len(chosen)} of the cuts",
                hint="ask for fewer cuts; none can be inside a block with a skip connection.",
            )
        goal = whole * k / (count + 1)
        chosen.append(min(rest, key=lambda place: abs(place.kept - goal)))
    return [place.name for place in chosen]


def _check(name: str, run: _Run, model: nn.Module) -> None:
    place = next((place for place in run.places if place.name == name), None)
    if place is None:
        raise UnknownName("layer", name, [n for n, _ in model.named_modules() if n])
    if place.runs > 1:
        raise BadSetting(
            f"the layer {name!r} runs {place.runs} times in one pass",
            hint="cut after layers that run once.",
        )
    if place.node is not None and run.bypassed(place):
        raise ModelDoesNotFit(
            f"a connection leads around the cut after {name!r}, and what is removed before it "
            f"would come back",
            hint="cut before or after the whole block that the connection skips.",
        )
    if not run.holds(place):
        raise BadSetting(
            f"{name!r} does not lie between the inputs and the feature layer",
            hint="cut after layers before the features; these are guarded anyway.",
        )


def _behind(node: Node | None, but: Node | None = None) -> set[Node]:
    """All nodes from which a gradient may pass to this one, and itself; ``but`` lets none pass."""
    found: set[Node] = set()
    open_ = [node]
    while open_:
        here = open_.pop()
        if here is None or here is but or here in found:
            continue
        found.add(here)
        open_ += [there for there, _ in here.next_functions]
    return found
