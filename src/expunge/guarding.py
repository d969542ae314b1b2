"""What may not be lost on the way: a model's use, on data that it never saw."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from expunge.batching import Batches
from expunge.method import Case
from expunge.observing import BATCH, observe
from expunge.precision import bf16_pays, half
from expunge.request import Classes
from expunge.splitting import Part

_MOST = 500  # samples in a look, always the same: enough to see five points


@dataclass(slots=True, eq=False)
class Guard:
    """Compares a model with what it was at the start."""

    case: Case
    unseen: Batches
    retained: Batches
    name: str  # of what stands for unseen data
    start: float = 0.0

    @classmethod
    def of(cls, model: nn.Module, case: Case) -> "Guard":
        """Look at the untouched model, on validation data where there are any."""
        aside, name = _staying(case), "validation"
        if aside is None or len(aside.part) == 0:
            aside, name = _some(case.retain), "retain"
            case.report.note("no validation data: what is lost was measured on retained samples")
        found = cls(case, aside, _some(case.retain), name)
        found.start = found.use(model)
        return found

    def use(self, model: nn.Module) -> float:
        """Accuracy on unseen data; for a regression, its loss below nothing."""
        return self._use(model, self.unseen)

    def lost(self, use: float) -> float:
        """Accuracy lost since the start; for a regression, the growth of the loss as a share."""
        if self.case.task.kind != "regression":
            return self.start - use
        return (self.start - use) / max(-self.start, 1e-12)

    def begin(self, model: nn.Module) -> None:
        """Draw where both curves start."""
        self.told(0, self.start)
        self.told_of_retained(model, 0)

    def told(self, step: int, use: float) -> None:
        """Draw how the use of unseen data goes."""
        self._trace(self.name, step, use)

    def concluded(self, model: nn.Module, step: int) -> None:
        """Look once more, after noise that is added at the end, and say what it cost."""
        name, use = self._called(self.name), self.use(model)
        last = self.case.report.traces[name][-1][1]
        self.told(step, use)
        self.case.report.note(f"the noise took {name} from {last:.4g} to {abs(use):.4g}")

    def told_of_retained(self, model: nn.Module, step: int) -> None:
        """Look at retained samples too, and draw how that goes."""
        if self.name != "retain":
            self._trace("retain", step, self._use(model, self.retained))

    def _trace(self, name: str, step: int, use: float) -> None:
        self.case.report.trace(self._called(name), step, abs(use))

    def _called(self, name: str) -> str:
        return f"{name} {'loss' if self.case.task.kind == 'regression' else 'accuracy'}"

    def _use(self, model: nn.Module, batches: Batches) -> float:
        with half(model, enabled=bf16_pays(model)):
            seen = observe(model, batches, self.case.task)
        return -seen.losses.mean().item() if seen.kind == "regression" else seen.accuracy


def _staying(case: Case) -> Batches | None:
    """Validation data without the classes that leave: to lose these is what was asked for."""
    if case.validation is None:
        return None
    some = _some(case.validation)
    gone = [label for t in case.targets if isinstance(t, Classes) for label in t.labels]
    if not gone or case.task.kind != "classification":
        return some
    of_gone = [torch.isin(case.task.labels(batch).cpu(), torch.tensor(gone)) for batch in some]
    stays = ~torch.cat([torch.zeros(0, dtype=torch.bool), *of_gone])
    return replace(some, part=Part(some.part.source, some.part.indices[stays]))


def _some(batches: Batches) -> Batches:
    ids = batches.part.indices
    part = Part(batches.part.source, ids[torch.randperm(len(ids))[:_MOST].sort().values])
    return replace(batches, part=part, size=BATCH, shuffle=False)
