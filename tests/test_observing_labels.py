"""Labels that no model could have: told with what is wrong, not with an index error."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from expunge import Classification
from expunge.batching import Batches
from expunge.errors import BatchUnreadable
from expunge.observing import observe
from expunge.splitting import Part


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_outside_the_models_classes_are_named(label):
    labels = torch.tensor([0, 2, label, 1])
    part = Part.whole(TensorDataset(torch.randn(4, 5), labels))
    with pytest.raises(BatchUnreadable, match=f"3 classes; the first is {label}"):
        observe(nn.Linear(5, 3), Batches(part), Classification())


def test_labels_that_are_words_are_refused_with_a_hint():
    class Words(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return torch.randn(5), "cat"

    with pytest.raises(BatchUnreadable, match="not a tensor"):
        observe(nn.Linear(5, 3), Batches(Part.whole(Words())), Classification())
