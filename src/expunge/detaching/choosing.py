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
    """What was found of the models that may yet be chosen, and these models."""

    case: Case
    floor: float  # accuracy that may be lost; of a regression, the share by which its loss may grow
    witnesses: Witnesses | None  # None: no validation data can tell
    original: Look | None  # None: nor of the original
    looks: list[Look] = field(default_factory=list)
    kept: dict[int, dict[str, Any]] = field(default_factory=dict)  # by epoch

    @classmethod
    def of(cls, model: nn.Module, case: Case, survey: Survey, floor: float) -> "Choice":
        """Look at the original."""
        witnesses = Witnesses.of(case, survey)
        return cls(case, floor, witnesses, witnesses.look(model, 0) if witnesses else None)

    def consider(self, model: nn.Module, epoch: int) -> None:
        """Look at a model, and keep it while it may be the best."""
        if self.witnesses is None or self.original is None:
            return
        look = self.witnesses.look(model, epoch)
        self.case.report.trace(f"validation {self.witnesses.worth}", epoch, abs(look.use))
        self.case.report.trace("held-out leak in bits", epoch, look.leak)
        self.looks = hopeful([*self.looks, look], self.original, self.floor)
        if look in self.looks:
            self.kept[epoch] = deepcopy(model.state_dict())
        self.kept = {each.epoch: self.kept[each.epoch] for each in self.looks}

    def restore(self, model: nn.Module) -> None:
        """Bring the best model back, if there was a choice."""
        if self.looks:
            model.load_state_dict(self.kept[best(self.looks).epoch])

    def tell(self, model: nn.Module, epochs: int) -> None:
        """Say which epoch was kept, and what it is worth in the end."""
        note = self.case.report.note
        if self.witnesses is None or self.original is None or not self.looks:
            note("no validation data could tell which epoch is best: the last was kept")
            return
        end, worth = self.witnesses.look(model, epochs), self.witnesses.worth
        epoch = best(self.looks).epoch
        note(
            f"epoch {epoch} of {epochs} was kept: held-out probes find {end.leak:.3f} bits beyond "
            f"the class where they found {self.original.leak:.3f}, and validation {worth} went "
            f"from {abs(self.original.use):.4g} to {abs(end.use):.4g}"
        )


def hopeful(looks: Sequence[Look], original: Look, floor: float) -> list[Look]:
    """The least leak of those that lost no more use than the floor, and all that are as good.

    Where none is left, all looks may hope. A leak is as good as the least where it is more by no
    more than a twentieth of the original's. Later looks may put any of these out, but bring none
    back: so those are left out than which a later one is no worse and tells no more. Of a loss,
    which is a use below zero, the floor is a share.
    """
    least = original.use - floor * (1.0 if original.use >= 0 else -original.use)
    grain = max(_GRAIN * original.leak, _NOISE)
    fine = [look for look in looks if look.use >= least] or looks
    near = min(look.leak for look in fine) + grain
    good = [look for look in fine if look.leak <= near]
    return [look for look in good if not any(_as_good(o, look) for o in good)]


def best(looks: Sequence[Look]) -> Look:
    """The last of those that chance may have made less useful than the most useful.

    What witnesses still find is noise by then, and the attribute was pushed longest in the last.
    """
    most = max(looks, key=lambda look: look.use)
    return max(
        (look for look in looks if look.use >= most.use - most.doubt), key=lambda look: look.epoch
    )


def _as_good(other: Look, look: Look) -> bool:
    """Whether another, later look is as useful and tells no more."""
    later = other.epoch > look.epoch
    return later and other.use >= look.use and other.leak <= look.leak
