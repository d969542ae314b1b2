"""Combine: several methods in order, each from where the one before it ended.

Two-stage recipes are common: one method takes the forgotten out, and a second repairs what was
lost. On the command line, ``--method neggrad,finetune`` makes one, and a setting goes to every part
that has it, or to one: ``--set finetune.epochs=2``.

It handles what all of its parts handle, and may reshape the model if one of them may. It costs what
its parts cost. What the model may learn, and BatchNorm's mode, are put back before each part.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from expunge.descending import Descent, mean_loss
from expunge.errors import BadSetting
from expunge.method import Case, Method, Report
from expunge.request import Attribute, Classes, Samples, Target


@dataclass(frozen=True)
class Combine(Method):
    """Run several methods one after the other, as one."""

    handles: ClassVar[tuple[type[Target], ...]] = (Samples, Classes, Attribute)

    methods: tuple[Method, ...]  # what to run, in this order

    def __post_init__(self) -> None:
        """Take the abilities of the parts; a frozen instance is given them before anybody looks."""
        super().__post_init__()
        if not self.methods:
            raise BadSetting("methods is empty", hint="name what to run: (Ssd(), Finetune()).")
        for ability in ("handles", "tasks"):
            object.__setattr__(self, ability, _shared(self.methods, ability))
        object.__setattr__(self, "reshapes", any(part.reshapes for part in self.methods))
        object.__setattr__(self, "half", all(part.half for part in self.methods))

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        may = {name: p.requires_grad for name, p in model.named_parameters()}
        for name, part in zip(_titles(self.methods), self.methods, strict=True):
            for key, parameter in model.named_parameters():
                parameter.requires_grad_(may.get(key, parameter.requires_grad))
            said = _Continued.after(case.report)
            model = part.forget(model.eval(), replace(case, report=said.report))
            said.tell(name)
        return model

    @property
    def name(self) -> str:
        """The parts' names, as the command line reads them."""
        return ",".join(part.name for part in self.methods)

    def describe(self) -> dict[str, Any]:
        """The settings of every part, under its name."""
        titled = zip(_titles(self.methods), self.methods, strict=True)
        return {f"{name}.{k}": v for name, part in titled for k, v in part.describe().items()}

    @classmethod
    def example(cls, folder: Path, model: nn.Module, case: Case) -> "Combine":
        """Two steps of the plainest kind."""
        del folder, model, case
        return cls((_Step(), _Step(lr=0.02)))


@dataclass(frozen=True)
class _Step(Method):
    """One step on the retain set; plug-ins know no other that could stand as an example."""

    handles: ClassVar[tuple[type[Target], ...]] = (Samples, Classes, Attribute)

    lr: float = 0.01

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        descent = Descent.of(model, case, lr=self.lr)
        descent.step(mean_loss(model, case)(case.retain.take(case.retain.part.indices[:9])))
        return model


@dataclass(frozen=True, slots=True, eq=False)
class _Continued:
    """What one part says, told as a part of the whole."""

    whole: Report
    report: Report
    before: int  # steps that were made already

    @classmethod
    def after(cls, whole: Report) -> "_Continued":
        done = len(whole.traces.get("loss", ()))

        def progress(step: str, count: int, total: int) -> None:
            whole.progress(step, done + count, done + total if total else 0)

        return cls(whole, Report(progress), done)

    def tell(self, name: str) -> None:
        for note in self.report.notes:
            self.whole.note(f"{name}: {note}")
        for title, points in self.report.traces.items():
            for step, value in points:
                self.whole.trace(title, self.before + step, value)


def _titles(parts: Sequence[Method]) -> list[str]:
    """A name for each part; the second of a kind has a number."""
    names = [part.name for part in parts]
    earlier = [names[:at].count(name) for at, name in enumerate(names)]
    return [f"{n} ({k + 1})" if k else n for n, k in zip(names, earlier, strict=True)]


def _shared(parts: Sequence[Method], ability: str) -> tuple[Any, ...]:
    """What all parts can, in the order of the first."""
    first, *others = (getattr(part, ability) for part in parts)
    found = tuple(kind for kind in first if all(kind in other for other in others))
    if found:
        return found
    told = "; ".join(
        f"{part.name}: {', '.join(getattr(k, '__name__', k) for k in getattr(part, ability))}"
        for part in parts
    )
    raise BadSetting(
        f"no request suits all parts ({told})", hint="combine methods that remove the same."
    )
