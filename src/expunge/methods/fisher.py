"""Fisher forgetting: noise where the retain set does not mind it.

Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net: Selective Forgetting in Deep
Networks", 2020. Every weight gets Gaussian noise whose deviation is ``sigma``^(1/2) · F^(-1/4), F
being the diagonal of the Fisher information of the retain set: what the retained samples do not
hold in place is lost. What differs: the noise is capped relative to the weights of the layer, as a
weight that no retained sample moves would else get noise without end; and the paper's special
treatment of the rows of a class that leaves is left out, since the retain set hardly holds them.

It is for small networks: what a deep one keeps of the forget set lies in weights that the retain
set needs, too, and noise that takes it out takes the retain set along. It costs a forward and a
backward pass of ``subsample`` retained samples at most, each by itself; with ``labels="model"``,
the Fisher information itself, as many backward passes as there are classes. No step of training.
What is stored of samples in BatchNorm stays.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.method import Case, Method, learning
from expunge.tasks import Batch, Task
from expunge.tasks.reading import call
from expunge.valuing import Worth, worth

_LEAST = 1e-30  # information, so that a root of none is not divided by


@dataclass(frozen=True)
class Fisher(Method):
    """Add noise to every weight, the more the less the retain set depends on it."""

    sigma: float = 1e-4  # root of it times F^(-1/4): the deviation of the noise
    cap: float = 1.0  # most deviation of the noise, in those of the weights of a parameter
    labels: Literal["data", "model"] = "data"  # of F; model: drawn by it, for classes alone
    subsample: int = 4096  # retained samples that stand for all; 0: all

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        learning(model)
        capped, total = 0, 0
        for name, value in self._information(model, case).means.items():
            parameter = model.get_parameter(name).detach()
            most = self.cap * float(parameter.double().square().mean().sqrt())
            deviation = self.sigma**0.5 * value.clamp_min(_LEAST) ** -0.25
            noise = torch.randn(value.shape, dtype=parameter.dtype).to(parameter)
            parameter += deviation.clamp_max(most).to(parameter) * noise
            capped, total = capped + int((deviation > most).sum()), total + value.numel()
        case.report.note(f"the noise of {capped:,} of {total:,} weights was capped")
        return model

    def _information(self, model: nn.Module, case: Case) -> Worth:
        if self.labels == "data" or case.task.kind != "classification":
            return worth(model, case.retain, case.task.loss, most=self.subsample)
        some = case.retain.take(case.retain.part.indices[:1])
        with torch.no_grad():
            classes = case.task.answer(model, some).logits.shape[1]
        score = _Expected(case.task)
        return worth(model, case.retain, score, numbers=classes, most=self.subsample)


@dataclass(frozen=True, slots=True)
class _Expected:
    """Numbers whose squared gradients add up to those of labels that the model itself draws."""

    task: Task

    def __call__(self, model: nn.Module, batch: Batch) -> Float[Tensor, " c"]:
        told = call(model, self.task.inputs(batch))[0].log_softmax(0)
        return told.detach().exp().sqrt() * told
