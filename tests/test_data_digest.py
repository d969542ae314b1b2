"""Two datasets have one digest only if they hold the same, as far as a look can tell."""

import numpy as np
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from expunge.batching import data_digest
from expunge.splitting import Part

N, D = 23, 3
ROWS = torch.arange(N * D, dtype=torch.float32).reshape(N, D)
LABELS = torch.arange(N) % 5
RESIDENT = TensorDataset(ROWS, LABELS)
IDS = torch.tensor([20, 3, 17, 4, 9])


class Plain(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, index):
        return ROWS[index], LABELS[index]


class Dicts(Plain):
    def __getitem__(self, index):
        return {"x": ROWS[index], "y": LABELS[index]}


class Noisy(Plain):
    """Random transforms, as in training."""

    def __getitem__(self, index):
        return ROWS[index] + torch.rand(D), LABELS[index]


def test_a_digest_sees_every_byte_of_resident_data():
    changed = ROWS.clone()
    changed[-1, -1] += 1e-3
    digests = [
        data_digest(source)
        for source in (
            RESIDENT,
            TensorDataset(changed, LABELS),
            TensorDataset(ROWS, LABELS.flip(0)),
            Part(RESIDENT, IDS),
            Part(RESIDENT, IDS.flip(0)),
            Subset(RESIDENT, [0, 1, 2]),
            Subset(RESIDENT, [0, 1, 3]),
        )
    ]
    assert len({*digests}) == len(digests)


def test_the_same_data_have_the_same_digest():
    assert data_digest(RESIDENT) == data_digest(TensorDataset(ROWS.clone(), LABELS.clone()))
    assert data_digest(Subset(RESIDENT, [2, 5])) == data_digest(
        Part(RESIDENT, torch.tensor([2, 5]))
    )


def test_random_transforms_do_not_change_the_digest():
    assert data_digest(Noisy()) == data_digest(Noisy())


class Picture:
    """What Pillow's images look like from outside."""

    size = (4, 6)

    def __init__(self, level):
        self.level = level

    def tobytes(self):
        return bytes([self.level] * 24)


class Kept(Plain):
    """Samples as users keep them: numpy, images, plain words, objects."""

    def __init__(self, change=None):
        self.change = change

    def __getitem__(self, index):
        image = Picture(index + (self.change == "image"))
        array = np.full(3, index + (1e-9 if self.change == "array" else 0))
        tensor = ROWS[index] + (1e-3 if self.change == "tensor" else 0)
        word = "b" if self.change == "word" else "a"
        return {"image": image, "array": array, "tensor": tensor, "word": word, "more": object()}


def test_a_digest_sees_what_the_samples_of_any_dataset_hold():
    assert data_digest(Kept()) == data_digest(Kept())
    changes = [None, "image", "array", "tensor", "word"]
    assert len({data_digest(Kept(change)) for change in changes}) == len(changes)


def test_a_dataset_may_answer_for_its_own_digest():
    source = Plain()
    source.digest = "v3"
    assert data_digest(source) == "v3"


def test_datasets_of_other_sizes_and_kinds_have_other_digests():
    class Longer(Plain):
        def __len__(self):
            return N - 1

    assert len({data_digest(s) for s in (Plain(), Dicts(), Noisy(), Longer())}) == 4
