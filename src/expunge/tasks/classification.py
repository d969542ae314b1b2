"""One label a sample, one logit a class."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from expunge.errors import BatchUnreadable
from expunge.tasks.reading import call, known_classes, same_count
from expunge.tasks.supervised import Supervised
from expunge.tasks.task import Batch, Kind

_NOBODY = torch.iinfo(torch.long).min  # no sample is passed over: -100 is no class, and is refused


@dataclass(frozen=True)
class Classification(Supervised):
    """Batches hold inputs and class labels; the model returns one logit per class."""

    @property
    def kind(self) -> Kind:
        return "classification"

    def loss(self, model: nn.Module, batch: Batch, /) -> Float[Tensor, " n"]:
        """Cross-entropy of every sample."""
        logits, labels = call(model, self.inputs(batch)), self.labels(batch)
        same_count(logits, labels)
        if logits.ndim != 2 or labels.ndim != 1 or labels.is_floating_point():
            raise BatchUnreadable(
                f"classification needs logits (n, c) and whole-numbered labels (n), not "
                f"{tuple(logits.shape)} and {labels.dtype} {tuple(labels.shape)}",
                hint="use MultiLabel or Regression, or give the task labels=... that fit.",
            )
        try:
            return F.cross_entropy(logits, labels.long(), reduction="none", ignore_index=_NOBODY)
        except IndexError:
            known_classes(labels, logits.shape[1])
            raise
