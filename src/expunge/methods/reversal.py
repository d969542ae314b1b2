"""Gradient reversal: critics climb down on an attribute, and in the same pass features climb up.

Ganin and Lempitsky, "Unsupervised Domain Adaptation by Backpropagation", 2015, there for domains. A
critic guesses the attribute from the features; its gradient turns round on the way into them. What
differs: the model is trained already, and is fine-tuned; the critic knows the label, and by itself
only what features tell beyond it has to go; the strength is measured in the attribute's entropy.

The cheapest of the adversarial methods and the least stable: a critic takes one step for each one
of the model, and has the last word nowhere. Compare it with ``detach``. An epoch costs one pass
forward and backward of every retained sample, and a little for the critic.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn
from torch.optim import SGD

from expunge.detaching.critics import Training
from expunge.detaching.holding import Aim, Depth
from expunge.detaching.remembering import losses
from expunge.detaching.surveying import Condition, survey
from expunge.detaching.weighing import Weights, ramp
from expunge.errors import BadSetting
from expunge.method import Case, Method, learning
from expunge.request import Attribute, Target


@dataclass(frozen=True)
class Reversal(Method):
    """Fine-tune against a critic whose gradient is turned round before it reaches the features."""

    handles: ClassVar[tuple[type[Target], ...]] = (Attribute,)
    half: ClassVar[bool] = True

    epochs: int = 10  # passes over the retain set
    lr: float = 0.02  # learning rate of SGD, constant
    momentum: float = 0.9  # of SGD
    weight_decay: float = 5e-4  # pull of every weight towards zero
    batch: int = 128  # retained samples in a step
    strength: float = 1.0  # of the gradient that is turned round, by the attribute's entropy
    critic_lr: float = 2e-3  # learning rate of the critic's Adam
    condition_on: Condition = "task"  # task: what the label tells may stay

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        if 0 in (self.epochs, self.lr, self.batch):
            raise BadSetting(
                f"epochs = {self.epochs}, lr = {self.lr}, batch = {self.batch}",
                hint="each must be positive.",
            )
        optimizer = SGD(
            learning(model), lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
        )
        critic = Training(copies=1, lr=self.critic_lr, renew=0)
        weights = Weights(keep_x=0.0, keep_y=1.0, strength=self.strength)
        depth = Depth(survey(case, self.condition_on), Aim(weights, "reversal", critic))
        batches = replace(case.retain, size=self.batch)
        total = case.report.total = self.epochs * len(batches)
        model.train()
        for step, batch in enumerate(batches.epochs(self.epochs)):
            answer = case.task.answer(model, batch)
            loss = losses(case.task, answer.logits, batch).mean()
            loss = loss + depth.loss(answer.embedding, batch, ramp(step, total))
            case.report.step(loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for name, bits in depth.known.items():
                case.report.trace(f"bits of {name} that the critic knows", step + 1, bits)
        for name, bits in depth.knew(len(batches)).items():
            case.report.note(f"the critic knew {bits:.3f} bits of {name} in the last epoch")
        return model
