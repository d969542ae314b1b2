"""The promises of every plug-in. Run them on your own: ``check_method(MyMethod)``."""

from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from json import dumps
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from expunge.algebra.statistics import auc
from expunge.attack import Attack
from expunge.batching import Batches
from expunge.ensembles import Reference, References
from expunge.erasing import restored
from expunge.errors import MissingInput, ModelDoesNotFit
from expunge.fitting import Fit
from expunge.imagining import imagined, shadowed
from expunge.method import Case, Method
from expunge.metric import Measurement, Metric, Trial
from expunge.observing import Observation, Snapshot, observe, snapshot
from expunge.outcome import Outcome
from expunge.request import Attribute, Classes, Request, Samples, Target
from expunge.seeding import seeded
from expunge.splitting import Split, split
from expunge.storing import load_tensors
from expunge.tasks import Classification, Task
from expunge.unlearning import unlearn

_PARTS = slice(120), slice(120, None)  # to train on, and to test with


@dataclass(frozen=True, slots=True, eq=False)
class Toy:
    """A problem small enough to solve in milliseconds."""

    model: nn.Module
    split: Split
    task: Task


def toy(target: Target | None = None, *, normalised: bool = False) -> Toy:
    """A fresh toy problem; all of its sizes differ, so that no transposed matrix can pass.

    Where an attribute is the target, a sample has a third column: the attribute, of two groups that
    the inputs hint at. Now and then it is missing.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(160, 8, generator=generator)
    y = (x @ torch.randn(8, 3, generator=generator)).argmax(1)
    columns, task = [x, y], Classification()
    if isinstance(target, Attribute):
        group = (x[:, 0] + torch.randn(160, generator=generator) > 0).long()
        columns.append(group.where(torch.arange(160) % 7 > 0, -1))
        task = Classification(attributes={target.name: lambda batch: batch[2]})
    train, test = (TensorDataset(*(v[rows] for v in columns)) for rows in _PARTS)
    request = Request(target if target is not None else Samples((1, 2, 3, 5, 8)))
    with seeded(0):
        middle = [nn.BatchNorm1d(16)] if normalised else []
        model = nn.Sequential(nn.Linear(8, 16), *middle, nn.ReLU(), nn.Linear(16, 3))
        Fit(epochs=8, lr=0.1, batch=23)(model, train)
    model[0].requires_grad_(requires_grad=False)  # a frozen layer must stay frozen
    return Toy(model, split(train, request, test=test), task)


def check_method(method: Method | type[Method]) -> None:
    """Raise AssertionError unless ``method`` keeps every promise that a method makes.

    A class is tried with its own ``example``; an instance as it is.
    """
    kinds = method.handles
    if Samples in kinds:
        _check_on(method, toy())
        _check_on(method, toy(Samples((7,)), normalised=True))
        _check_head(method, toy())
    if Classes in kinds:
        _check_on(method, toy(Classes((1,))))
        _check_head(method, toy(Classes((1,))))
    if Attribute in kinds:
        _check_on(method, toy(Attribute("hat")))
        _check_head(method, toy(Attribute("hat")))
        _check_on(method, toy(Attribute("hat"), normalised=True))


def check_metric(metric: Metric) -> None:
    """Raise AssertionError unless ``metric`` keeps every promise that a metric makes."""
    for target in (Samples((1, 2, 3, 5, 8)), Classes((1,))):
        problem = toy(target)
        first, second = _retrained(problem, 1), _retrained(problem, 2)
        both, turned = References((first, second)), References((second, first))
        trial = replace(_trial(problem, problem.model, both), repeats=turned)
        _check_numbers(metric, trial)
        _check_order(metric, trial)
        _check_match(metric, _trial(problem, first.load(), References((first,))))
        _check_absence(metric, _trial(problem, problem.model, None))


def check_attack(attack: Attack | type[Attack]) -> None:
    """Raise AssertionError unless ``attack`` keeps every promise that an attack makes.

    A class is tried with its own ``example``, which is given shadow models; an instance as it is.
    """
    blind = _attacking(attack, 0.0).score(imagined(memory=0.0))
    found = auc(blind.member, blind.nonmember)
    assert found.low <= 0.5 <= found.high, f"members are told from their equals: AUC {found}"
    able = _attacking(attack, 12.0)
    seeing = able.score(imagined(memory=12.0))
    value = auc(seeing.member, seeing.nonmember).value
    assert value >= 0.9, f"a model that knows its members by heart is not caught: AUC {value:.3f}"
    assert seeing.member.dtype == torch.double, "scores are not in double precision"
    again = able.score(imagined(memory=12.0))
    assert torch.equal(seeing.member, again.member), "the same snapshot gives other scores"
    mixed = able.score(_mixed(imagined(memory=12.0)))
    for one, other in ((seeing.member, mixed.member), (seeing.nonmember, mixed.nonmember)):
        same = torch.allclose(one.sort().values, other.sort().values)
        assert same, "scores depend on the order of samples"


def _check_on(method: Method | type[Method], problem: Toy) -> None:
    with TemporaryDirectory() as folder:
        tried = _example(method, Path(folder), problem)
        original, drawn = _state(problem.model), _generators()
        first = unlearn(problem.model, problem.split, tried, task=problem.task)
        again = unlearn(problem.model, problem.split, tried, task=problem.task)
        _check_saved(first, Path(folder))
    weights, repeated = first.after.state_dict(), again.after.state_dict()
    assert _same(original, _state(problem.model)), "the original was changed"
    assert drawn == _generators(), "a global random generator was not restored"
    assert all(v.isfinite().all() for v in weights.values()), "weights are not finite"
    assert weights.keys() == repeated.keys(), "the same seed gives other parameters"
    assert all(torch.equal(weights[n], repeated[n]) for n in weights), "same seed, other weights"
    assert _still(problem.model, first.after), "a frozen layer was changed"
    assert not any(m.training for m in first.after.modules()), "the result is in training mode"
    assert _hooks(first.after) <= _hooks(problem.model), "a hook was left behind"
    if not tried.reshapes:
        assert original.keys() == _state(first.after).keys(), "parameters changed their names"
        assert _learning(problem.model) == _learning(first.after), "requires_grad was changed"
    dumps(tried.describe(), allow_nan=False)


def _check_head(method: Method | type[Method], problem: Toy) -> None:
    """A head that is frozen must stay what it is, or be refused."""
    model = deepcopy(problem.model).requires_grad_(requires_grad=True)
    [*model.children()][-1].requires_grad_(requires_grad=False)
    with TemporaryDirectory() as folder, suppress(ModelDoesNotFit):
        tried = _example(method, Path(folder), replace(problem, model=model))
        after = unlearn(model, problem.split, tried, task=problem.task).after
        anew = hasattr(tried, "train")  # from a recipe, which knows nothing of this head
        assert anew or _still(model, after), "a frozen head was changed"


def _check_saved(outcome: Outcome, folder: Path) -> None:
    """What a file keeps of the result must be all that its answers hang on."""
    outcome.save(folder / "saved.safetensors")
    tensors, _ = load_tensors(folder / "saved.safetensors")
    loaded = restored(deepcopy(outcome.before), tensors)
    if loaded.state_dict().keys() != tensors.keys():  # only the method knows how to build it
        loaded = deepcopy(outcome.after)
    loaded.load_state_dict(tensors)
    ask = partial(observe, batches=Batches(outcome.split.test), task=outcome.task)
    same = torch.equal(ask(loaded).logits, ask(outcome.after).logits)
    assert same, "saved and loaded again, the result answers otherwise"


def _example(method: Method | type[Method], folder: Path, problem: Toy) -> Method:
    if isinstance(method, Method):
        return method
    parts = problem.split
    case = Case(
        parts.targets,
        Batches(parts.forget, shuffle=True),
        Batches(parts.retain, shuffle=True),
        None,
        problem.task,
    )
    return method.example(folder, problem.model, case)


def _check_numbers(metric: Metric, trial: Trial) -> None:
    first, again = _asked(metric, trial), _asked(metric, trial)
    assert first, f"{type(metric).__name__} yields nothing"
    names = [m.name for m in first]
    assert len(set(names)) == len(names), f"two measurements have one name: {names}"
    for one, other in zip(first, again, strict=True):
        assert one == other, f"{one.name} is another number the second time"
        assert one.value is not None or one.note, f"{one.name} is absent without a reason"
        assert one.value is None or isfinite(one.value), f"{one.name} is not finite"
        if one.value is not None and one.interval is not None:
            low, high = one.interval
            assert low <= one.value <= high, f"{one.name} lies outside its own interval"


def _check_order(metric: Metric, trial: Trial) -> None:
    mixed = replace(
        trial,
        before=_mixed(trial.before),
        after=_mixed(trial.after),
        references=_all_mixed(trial.compared),
        repeats=_all_mixed(trial.repeated),
    )
    for one, other in zip(_asked(metric, trial), _asked(metric, mixed), strict=True):
        assert _close(one.value, other.value), f"{one.name} depends on the order of samples"


def _all_mixed(models: References) -> References:
    return References(tuple(replace(r, snapshot=_mixed(r.snapshot)) for r in models.members))


def _check_match(metric: Metric, trial: Trial) -> None:
    for m in _asked(metric, trial):
        if m.goal == "match" and m.value is not None:
            goal = m.target[0] if m.target else 0.0
            assert _close(m.value, goal), f"{m.name} tells a reference from itself: {m.value}"


def _check_absence(metric: Metric, trial: Trial) -> None:
    try:
        found = list(metric.measure(trial))
    except MissingInput:
        return
    for m in found:
        alone = not m.target and m.comparison is None and m.control is None
        assert alone, f"{m.name} compares with references that were not given"


def _asked(metric: Metric, trial: Trial) -> list[Measurement]:
    found: list[Measurement] = []
    try:
        found.extend(metric.measure(trial))
    except MissingInput as why:
        found.append(Measurement.missing(type(metric).__name__, why.fact))
    return found


def _trial(problem: Toy, after: nn.Module, references: References | None) -> Trial:
    outcome = Outcome(problem.model, after, problem.split, problem.task, seconds=1.0)
    look = partial(snapshot, split=problem.split, task=problem.task, features=True)
    return Trial(outcome, look(problem.model), look(after), references)


def _retrained(problem: Toy, seed: int) -> Reference:
    with seeded(seed):
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        Fit(epochs=8, lr=0.1, batch=23)(model, problem.split.retain)
    seen = snapshot(model, problem.split, problem.task, features=True)
    return Reference(lambda: model, seen, seed, 2.0, str(seed))


def _attacking(attack: Attack | type[Attack], memory: float) -> Attack:
    return attack if isinstance(attack, Attack) else attack.example(shadowed(memory))


def _mixed(seen: Snapshot) -> Snapshot:
    def part(observed: Observation) -> Observation:
        order = torch.randperm(len(observed), generator=torch.Generator().manual_seed(2))
        return observed.only(order)

    return Snapshot(part(seen.forget), part(seen.retain), part(seen.test), seen.removed)


def _close(a: float | None, b: float | None) -> bool:
    return a == b if a is None or b is None else abs(a - b) <= 1e-6 * (1 + abs(a))


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _still(before: nn.Module, after: nn.Module) -> bool:
    """Whether what is frozen is what it was, wherever it has its name still."""
    now, frozen = after.state_dict(), {n for n, learns in _learning(before).items() if not learns}
    return all(torch.equal(before.get_parameter(n), now[n]) for n in frozen & now.keys())


def _learning(model: nn.Module) -> dict[str, bool]:
    return {name: p.requires_grad for name, p in model.named_parameters()}


def _hooks(model: nn.Module) -> int:
    return sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)  # noqa: SLF001
        for m in model.modules()
    )


def _generators() -> tuple[Any, ...]:
    # Python's own generator is restored too, but run-time type checkers draw from it in tests.
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002 - the global one is what is checked
    return torch.get_rng_state().tolist(), repr(legacy)
