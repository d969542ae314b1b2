"""Which epoch to keep: the last whose features tell held-out probes least, if it is of use."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from expunge.detaching.surveying import Survey
from expunge.detaching.witnessing import Look, Witnesses
from expunge.method import Case

_GRAIN, _NOISE = 0.05, 0.005  # of the original's leak, or bits


@dataclass(slots=True, eq=False)
class Choice:
    """What was found of every model, and the best of them."""

    case: Case
    floor: float  # accuracy that may be lost; of a regression, the share by which its loss may grow
    witnesses: Witnesses | None  # None: no validation data can tell
    original: Look | None  # None: nor of the original
    looks: list[Look] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)  # the best so far; nothing before a look

    @classmethod
    def of(cls, model: nn.Module, case: Case, survey: Survey, floor: float) -> "Choice":
        """Look at the original."""
        witnesses = Witnesses.of(case, survey)
        return cls(case, floor, witnesses, witnesses.look(model, 0) if witnesses else None)

    def consider(self, model: nn.Module, epoch: int) -> None:
        """Look at a model, and keep it if it is the best so far."""
        if self.witnesses is None or self.original is None:
            return
        look = self.witnesses.look(model, epoch)
        self.case.report.trace(f"validation {self.witnesses.worth}", epoch, abs(look.use))
        self.case.report.trace("held-out leak in bits", epoch, look.leak)
        self.looks.append(look)
        if best(self.looks, self.original, self.floor) is look:
            self.kept = deepcopy(model.state_dict())

    def restore(self, model: nn.Module) -> None:
        """Bring the best model back, if there was a choice."""
        if self.kept:
            model.load_state_dict(self.kept)

    def tell(self, model: nn.Module, epochs: int) -> None:
        """Say which epoch was kept, and what it is worth in the end."""
        note = self.case.report.note
        if self.witnesses is None or self.original is None or not self.looks:
            note("no validation data could tell which epoch is best: the last was kept")
            return
        end, worth = self.witnesses.look(model, epochs), self.witnesses.worth
        epoch = best(self.looks, self.original, self.floor).epoch
        note(
            f"epoch {epoch} of {epochs} was kept: held-out probes find {end.leak:.3f} bits beyond "
            f"the class where they found {self.original.leak:.3f}, and validation {worth} went "
            f"from {abs(self.original.use):.4g} to {abs(end.use):.4g}"
        )


def best(looks: Sequence[Look], original: Look, floor: float) -> Look:
    """The last that tells as little as any of those that lost no more use than the floor.

    Where all lost more, of all. A leak is as little where it is above the least by no more than a
    twentieth of the original's: what witnesses find there is noise, and it is the last model that
    was pushed longest. Of a loss, which is a use below zero, the floor is a share.
    """
    least = original.use - floor * (1.0 if original.use >= 0 else -original.use)
    grain = max(_GRAIN * original.leak, _NOISE)
    fine = [look for look in looks if look.use >= least] or looks
    near = min(look.leak for look in fine) + grain
    return [look for look in fine if look.leak <= near][-1]
