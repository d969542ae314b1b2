"""Bad teacher: learn about what must go from a network that knows nothing.

Chundawat, Tarun, Mandal and Kankanhalli, "Can Bad Teaching Induce Forgetting? Unlearning in Deep
Networks Using an Incompetent Teacher", 2023. The student begins as the original. On forget samples
it learns the answers of an untrained network of the same form, on retained ones those of the
original; both by their divergence. What differs: the length is counted in steps, forget and retain
batches are weighted by a share, long gradients are shortened, without which a residual network with
frozen BatchNorm fell to chance, and the untrained network is the original with every layer drawn
anew, so that no recipe is needed.

The answers of an untrained network are not those of one that was trained on everything else: few
samples and many steps leave them near chance, less known than unseen ones, which gives them away;
many samples and few steps leave them better known than those.

It costs two forward passes and one backward pass of a forget and of a retain batch a step. It
handles samples and classes, and holds three models. BatchNorm is frozen.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from expunge.algebra.distilling import divergence
from expunge.descending import Descent, balance
from expunge.method import Case, Method
from expunge.resetting import reset
from expunge.tasks import Batch, Kind


@dataclass(frozen=True)
class BadTeacher(Method):
    """Learn forget samples from an untrained network, and retained ones from the original."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    half: ClassVar[bool] = True

    steps: int = 100  # optimizer steps, whatever the size of the forget set
    lr: float = 0.02  # learning rate of SGD, constant
    share: float = 0.3  # of the forget term in the loss
    momentum: float = 0.9  # of SGD
    clip: float = 2.0  # a longer gradient is shortened to this norm; 0: none is
    heat: float = 1.0  # logits are divided by it before they are compared

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        good, bad = (deepcopy(model).requires_grad_(requires_grad=False) for _ in range(2))
        reset(bad.modules())
        bad.eval()

        def like(teacher: nn.Module) -> Callable[[Batch], Tensor]:
            def apart(batch: Batch) -> Tensor:
                known, said = (case.task.answer(m, batch).logits for m in (teacher, model))
                return divergence(known, said, heat=self.heat).mean()

            return apart

        balance(
            Descent.of(model, case, lr=self.lr, momentum=self.momentum, clip=self.clip),
            case.forget.endless(), away=like(bad), stay=like(good),
            steps=self.steps, share=self.share,
        )  # fmt: skip
        return model
