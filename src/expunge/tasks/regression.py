"""Numbers instead of classes."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from expunge.errors import BatchUnreadable
from expunge.tasks.reading import call, same_count
from expunge.tasks.supervised import Supervised
from expunge.tasks.task import Batch, Kind


@dataclass(frozen=True)
class Regression(Supervised):
    """Batches hold inputs and numbers; the model returns as many numbers a sample."""

    @property
    def kind(self) -> Kind:
        return "regression"

    def loss(self, model: nn.Module, batch: Batch, /) -> Float[Tensor, " n"]:
        """Squared error, averaged over the outputs of every sample."""
        predicted, labels = call(model, self.inputs(batch)), self.labels(batch)
        same_count(predicted, labels)
        if predicted.numel() != labels.numel():
            raise BatchUnreadable(
                f"regression needs one number a target, not {tuple(predicted.shape)} "
                f"for {tuple(labels.shape)}",
                hint="give the task labels=... of the shape that the model returns.",
            )
        error = predicted.flatten() - labels.to(predicted).flatten()
        return error.square().reshape(len(predicted), -1).mean(1)
