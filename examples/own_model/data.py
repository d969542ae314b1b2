"""Three kinds of waves, made by numpy: each sample is a mapping, as many real datasets' are."""

from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from expunge import Classification

LENGTH, CLASSES = 24, 3
TRAIN, TEST = 240, 360


class Waves(Dataset[dict[str, Tensor]]):
    """Noisy waves. The label is how fast one swings; `gain` says how loud it was recorded."""

    def __init__(self, seed: int, count: int) -> None:
        draw = np.random.default_rng(seed)
        self.targets = draw.integers(CLASSES, size=count)
        time = np.linspace(0, 2 * np.pi, LENGTH)
        speed = 1 + self.targets[:, None]
        phase = draw.uniform(0, 2 * np.pi, size=(count, 1))
        self._gain = draw.uniform(0.5, 1.5, size=(count, 1)).astype(np.float32)
        noise = draw.normal(0, 0.9, size=(count, LENGTH))
        self._waves = (np.sin(speed * time + phase) + noise).astype(np.float32)
        # A dataset that is not a TensorDataset may say what it holds: caches are told apart by it.
        self.digest = sha256(self._waves.tobytes() + self.targets.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {
            "wave": torch.from_numpy(self._waves[index]),
            "gain": torch.from_numpy(self._gain[index]),
            "label": torch.tensor(self.targets[index]),
        }


def train() -> Waves:
    """What the model is trained on."""
    return Waves(seed=1, count=TRAIN)


def test() -> Waves:
    """What it never sees."""
    return Waves(seed=2, count=TEST)


def inputs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the model reads: a mapping goes in as keywords."""
    return {"wave": batch["wave"], "gain": batch["gain"]}


def labels(batch: dict[str, Tensor]) -> Tensor:
    """What the model should say."""
    return batch["label"]


def task() -> Any:
    """Where inputs and labels are in a batch, and which layer is the representation."""
    return Classification(layer="encode", inputs=inputs, labels=labels)
