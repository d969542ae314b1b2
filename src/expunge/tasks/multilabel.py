"""Several yes-or-no labels a sample, one logit each."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from expunge.errors import BatchUnreadable
from expunge.tasks.reading import call
from expunge.tasks.supervised import Supervised
from expunge.tasks.task import Batch, Kind


@dataclass(frozen=True)
class MultiLabel(Supervised):
    """Batches hold inputs and rows of zeros and ones; the model returns one logit per label."""

    @property
    def kind(self) -> Kind:
        return "multilabel"

    def loss(self, model: nn.Module, batch: Batch, /) -> Float[Tensor, " n"]:
        """Binary cross-entropy, averaged over the labels of every sample."""
        logits, labels = call(model, self.inputs(batch)), self.labels(batch)
        if logits.shape != labels.shape or logits.ndim < 2:
            raise BatchUnreadable(
                f"multi-label needs logits and labels of one shape (n, k), not "
                f"{tuple(logits.shape)} and {tuple(labels.shape)}",
                hint="use Classification for one label a sample.",
            )
        losses = F.binary_cross_entropy_with_logits(logits, labels.to(logits), reduction="none")
        return losses.flatten(1).mean(1)
