"""A toy with a label and an attribute that go together, and what each way to remove leaves of it.

Twenty inputs show a label and an attribute, both yes or no, correlated by .6. A layer of eight
units is to tell the label and not the attribute. Fresh probes are then trained on
the units of other samples: a linear one and a perceptron of two layers, for everybody, and for the
perceptron inside each class. Who knows the label guesses the attribute of .8: the floor.
"""

from collections.abc import Callable
from statistics import mean, stdev
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Adam
from torch.utils.data import TensorDataset

from expunge import Classification
from expunge.detaching import Aim, Estimator, Weights, penalty
from expunge.detaching.surveying import Condition
from expunge.fitting import Fit
from expunge.unlearning import seeded

INPUTS, SAMPLES, SEEDS, EPOCHS, LR, BATCH, RISE = 20, 3000, 3, 10, 2e-3, 100, 100
SIGNAL = 0.3, 0.8  # of the label and the attribute in every input, in deviations of noise
TASK = Classification(attributes={"z": lambda batch: batch[2]})
COLUMNS = ("task", "linear", "perceptron", "perceptron inside classes")


def table(tell: Callable[[str], None]) -> dict[str, Any]:
    """What probes find after all ways."""
    found: dict[str, list[dict[str, float]]] = {}
    for name, train in WAYS.items():
        found[name] = [judged(train(_drawn(seed), seed), seed) for seed in range(SEEDS)]
        tell(f"{name}: {found[name]}")
    return found


def plain(data: TensorDataset, seed: int) -> nn.Module:
    """Nothing is removed."""
    with seeded(seed):
        return _fit()(_network(), data)


def naive(data: TensorDataset, seed: int) -> nn.Module:
    """One loss, in which that of a classifier of the attribute counts less than nothing."""
    x, y, z = data.tensors
    with seeded(seed):
        model, guess = _network(), nn.Linear(8, 2)
        body, head = _halves(model)
        optimizer = Adam([*model.parameters(), *guess.parameters()], lr=LR)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(x)).split(BATCH):
                h = body(x[rows])
                loss = cross_entropy(head(h), y[rows]) - cross_entropy(guess(h), z[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return model.eval()


def detached(
    strength: float, estimator: Estimator = "vclub", condition_on: Condition = "task"
) -> Callable[[TensorDataset, int], nn.Module]:
    """Detachment from the start of training."""

    def train(data: TensorDataset, seed: int) -> nn.Module:
        aim = Aim(Weights(0.0, 1.0, strength), estimator)
        charge = penalty(data, TASK, ["z"], aim=aim, condition_on=condition_on, rise=RISE)
        with seeded(seed):
            return _fit(task=charge.task, penalty=charge)(_network(), data)

    return train


WAYS: dict[str, Callable[[TensorDataset, int], nn.Module]] = {
    "nothing removed": plain,
    "one loss, naive sign": naive,
    "minmax, weight 1": detached(1.0, "minmax", "nothing"),
    "vclub, weight 1": detached(1.0, "vclub", "nothing"),
    "vclub, weight 5": detached(5.0, "vclub", "nothing"),
    "vclub beyond the label, weight 1": detached(1.0),
    "vclub beyond the label, weight 5": detached(5.0),
    "vclub beyond the label, weight 20": detached(20.0),
}


def judged(model: nn.Module, seed: int) -> dict[str, float]:
    """Accuracies of the task, and of fresh probes: half of the samples to learn, half to score."""
    x, y, z = _drawn(1000 + seed).tensors
    with torch.no_grad():
        h, task = _halves(model)[0](x), (model(x).argmax(1) == y).float().mean().item()
    h = (h - h.mean(0)) / h.std(0).clamp_min(1e-6)
    half = torch.arange(len(x)) < len(x) // 2
    inside = [_right(_perceptron(), h, z, half, y == k) * (y == k)[~half].float() for k in (0, 1)]
    within = torch.stack(inside).sum(0)
    whole = torch.ones_like(half)
    return {
        "task": task,
        "linear": _right(LogisticRegression(), h, z, half, whole).mean().item(),
        "perceptron": _right(_perceptron(), h, z, half, whole).mean().item(),
        "perceptron inside classes": within.mean().item(),
    }


def _right(probe: Any, h: Tensor, z: Tensor, half: Tensor, among: Tensor) -> Tensor:
    """Who is guessed right in the second half, by a probe that learned from some of the first."""
    learn = half & among
    probe.fit(h[learn].numpy(), z[learn].numpy())
    return torch.from_numpy(probe.predict(h[~half].numpy()) == z[~half].numpy()).float()


def _perceptron() -> MLPClassifier:
    return MLPClassifier((64, 64), alpha=1e-3, early_stopping=True, random_state=0)


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(INPUTS, 8), nn.Tanh(), nn.Linear(8, 2))


def _halves(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """What makes the eight units, and what reads the label from them."""
    *layers, head = model.children()
    return nn.Sequential(*layers), head


def _fit(**given: Any) -> Fit:
    return Fit(EPOCHS, LR, BATCH, optimizer="adamw", schedule="onecycle", **given)


def _drawn(seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randint(2, (SAMPLES,), generator=generator)
    y = torch.where(torch.rand(SAMPLES, generator=generator) < 0.8, z, 1 - z)
    ways = torch.randn(2, INPUTS, generator=torch.Generator().manual_seed(99))
    signs = torch.stack([2.0 * y - 1, 2.0 * z - 1], 1) * torch.tensor(SIGNAL)
    noise = torch.randn(SAMPLES, INPUTS, generator=generator)
    return TensorDataset(signs @ ways + noise, y, z)


def page(found: dict[str, list[dict[str, float]]]) -> str:
    """The same, for people to read."""
    lines = [
        "## What a toy's features tell after every way to remove an attribute",
        "",
        (
            f"{INPUTS} inputs, {SAMPLES:,} samples; label and attribute correlated by .6. "
            f"Accuracies on fresh samples, mean of {SEEDS} seeds ± their deviation. "
            f"Who knows the label guesses the attribute of .80."
        ),
        "",
        "| | " + " | ".join(COLUMNS) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for name, rows in found.items():
        cells = ([row[column] for row in rows] for column in COLUMNS)
        told = (f"{mean(cell):.3f} ± {stdev(cell):.3f}" for cell in cells)
        lines.append(f"| {name} | {' | '.join(told)} |")
    return "\n".join(lines) + "\n"
