"""L1-sparse: fine-tune on what remains, under a pull on every weight towards zero.

Jia, Liu, Ram, Yao, Liu, Liu, Sharma and Liu, "Model Sparsity Can Simplify Machine Unlearning",
2023: fine-tuning forgets more where few weights are left, so the sum of all absolute weights is
added to the loss, and its factor falls linearly to zero over the run. What differs: the factor
falls with every step, not every epoch; the learning rate follows a cosine to zero as well, as in
`finetune`; and unless a penalty is set, it is chosen by how far it alone would pull a weight in
all, so that one setting serves short and long runs, small and large networks. It handles samples
and classes, in any task.

It costs one forward and backward pass of the retain set an epoch. BatchNorm and dropout run in
training mode: only retained samples pass through.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from expunge.descending import Descent, cosine, epochs, mean_loss
from expunge.method import Case, Method, learning


@dataclass(frozen=True)
class L1Sparse(Method):
    """Keep training on the retain set, while a fading penalty makes weights few."""

    half: ClassVar[bool] = True

    epochs: int = 10  # passes over the retain set
    lr: float = 0.1  # learning rate of SGD, falling to zero
    penalty: float | None = None  # of the sum of |weights|, at the first step; None: by reach
    reach: float = 1.5  # how far the penalty alone pulls a weight, in mean sizes of a weight
    momentum: float = 0.9  # of SGD
    weight_decay: float = 5e-4  # pull of every weight towards zero

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        weights = learning(model)
        strength = self._strength(weights, self.epochs * len(case.retain))
        if self.penalty is None:
            case.report.settled({"penalty": strength})

        def pull(share: float) -> Tensor:
            return strength * (1 - share) * torch.stack([w.abs().sum() for w in weights]).sum()

        descent = Descent.of(
            model, case, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
        )
        epochs(descent, self.epochs, mean_loss(model.train(), case), extra=pull, falling=True)
        return model

    def _strength(self, weights: list[nn.Parameter], steps: int) -> float:
        """The first penalty that reaches so far, by all steps, their rates and their momentum."""
        if self.penalty is not None:
            return self.penalty
        size = sum(w.detach().abs().sum().item() for w in weights) / sum(w.numel() for w in weights)
        speed = moved = 0.0
        for step in range(steps):
            speed = self.momentum * speed + 1 - step / steps
            moved += self.lr * cosine(step / steps) * speed
        return self.reach * size / moved if moved else 0.0
