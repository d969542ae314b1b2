"""Samples are recognised by what models read of them, wherever they stand."""

import torch
from torch.utils.data import Dataset, TensorDataset

from expunge import Classification
from expunge.splitting import Part
from expunge.twins import among, prints

TASK = Classification()


def rows(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, 3, generator=generator), torch.zeros(n).long())


class OneByOne(Dataset):
    """The same samples, that nobody can take as rows of a tensor."""

    def __init__(self, kept):
        self.kept = kept

    def __len__(self):
        return len(self.kept)

    def __getitem__(self, k):
        x, y = self.kept[k]
        return x, int(y)


def test_samples_of_one_dataset_are_known_by_their_places():
    both = rows(7)
    found = among(Part(both, torch.tensor([1, 4, 6])), Part(both, torch.tensor([4, 0, 1])), TASK)
    assert found.tolist() == [True, True, False]


def test_samples_of_another_dataset_are_known_by_their_inputs_and_not_by_their_labels():
    mine, theirs = rows(7), rows(5, seed=1)
    x, _ = theirs.tensors
    copied = TensorDataset(torch.cat([x, mine.tensors[0][[2, 5]]]), torch.ones(7).long())
    found = among(Part.whole(mine), Part.whole(copied), TASK)
    assert found.tolist() == [k in {2, 5} for k in range(7)]
    assert among(Part(mine, torch.tensor([5, 0])), Part.whole(copied), TASK).tolist() == [1, 0]
    assert not among(Part.whole(mine), Part.whole(theirs), TASK).any()


def test_data_that_must_be_read_one_by_one_are_not_looked_through():
    assert among(Part.whole(OneByOne(rows(4))), Part.whole(rows(4)), TASK) is None


def test_inputs_that_have_no_row_a_sample_are_not_said_to_be_new():
    summed = Classification(inputs=lambda batch: batch[0].sum())
    assert among(Part.whole(rows(4)), Part.whole(rows(5)), summed) is None


def test_a_sample_has_the_same_print_however_it_is_read():
    kept = rows(4)
    assert [*prints(Part.whole(kept), TASK)] == [*prints(Part.whole(OneByOne(kept)), TASK)]
    assert len({digest for _, digest in prints(Part.whole(kept), TASK)}) == 4
