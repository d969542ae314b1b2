"""Which share of forgotten samples a support vector machine takes for unseen ones.

It learns to tell training samples that stay from the test set by the confidence in the true label
(Jia and others, Model Sparsity Can Simplify Machine Unlearning, 2023; the setting of SalUn, 2024).
Nothing says that this share should be large: what it is for retrained models, it should be.
"""

import numpy as np
from jaxtyping import Float
from torch import Tensor

_BEND = 3.0  # the price of a sample on the wrong side


def efficacy(
    staying: Float[Tensor, " m"], unseen: Float[Tensor, " n"], forgotten: Float[Tensor, " k"]
) -> float:
    """The share of the forgotten on the side of the unseen; as many of those are learnt from."""
    from sklearn.svm import SVC  # noqa: PLC0415 - it is heavy

    size = min(len(staying), len(unseen))
    known = np.concatenate([staying[:size].double().numpy(), unseen[:size].double().numpy()])
    group = np.arange(2 * size) < size
    machine = SVC(C=_BEND, kernel="rbf", gamma="auto").fit(known[:, None], group)
    return float(1 - machine.predict(forgotten.double().numpy()[:, None]).mean())
