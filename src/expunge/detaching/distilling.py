"""What the original says of every sample, without what it says of the attributes.

A model that is to answer like the original would learn the attributes from it again, for answers
hold them too. So the answers are levelled first: inside every class, what attributes explain of
them linearly is taken off, until no group has another mean than its class.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from expunge.algebra.information import Scalar
from expunge.detaching.surveying import Survey
from expunge.method import Case
from expunge.observing import BATCH, evaluating
from expunge.tasks import Kind

_HEAT = 2.0  # logits are divided by it: what is unlikely says something too


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """The levelled answers of the original, by position in the training set."""

    ids: Int[Tensor, " n"]
    answers: Float[Tensor, "n *c"]
    kind: Kind

    @classmethod
    def of(cls, model: nn.Module, case: Case, survey: Survey) -> "Original":
        """Ask the original about everybody, once."""
        everybody = replace(case.retain, size=BATCH, shuffle=False)
        with torch.no_grad(), evaluating(model):
            answers = torch.cat([case.task.answer(model, b).logits.float() for b in everybody])
        columns = survey.census.columns.to(answers.device)
        y, rows = survey.census.y.to(answers.device), answers.reshape(len(answers), -1)
        level = levelled(rows, columns, y)
        return cls(case.retain.part.indices, level.view(answers.shape), case.task.kind)

    def apart(self, logits: Float[Tensor, "n *c"], ids: Int[Tensor, " n"]) -> Scalar:
        """How far other answers about these samples are."""
        want, said = self.answers[torch.searchsorted(self.ids, ids)], logits.float()
        match self.kind:
            case "classification":
                told, known = (x.div(_HEAT).log_softmax(1) for x in (said, want))
                return _HEAT**2 * F.kl_div(told, known, reduction="batchmean", log_target=True)
            case "multilabel":
                return F.binary_cross_entropy_with_logits(said, want.sigmoid())
            case "regression":
                return F.mse_loss(said, want)


def levelled(
    answers: Float[Tensor, "n c"], columns: Float[Tensor, "n k"], y: Int[Tensor, " n"]
) -> Float[Tensor, "n c"]:
    """Answers without what attributes explain of them inside each class, where they are known."""
    found = answers.clone()
    for label in y.unique():
        rows = y == label
        z = columns[rows].to(torch.double)
        z = (z - z.nanmean(0)).nan_to_num()
        if z.any():
            slope = torch.linalg.pinv(z) @ answers[rows].double()
            found[rows] -= (z @ slope).to(found)
    return found
