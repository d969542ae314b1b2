"""A loader that is watched: the right ids, the same batches, and nothing changed."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler

from expunge.batching import Batches
from expunge.errors import HistoryDoesNotFit
from expunge.recording.watching import Watched
from expunge.splitting import Part


class Numbered(Dataset):
    """Every sample is its own position."""

    def __len__(self):
        return 31

    def __getitem__(self, place):
        return float(place)


def heard(loader, epochs=2):
    """What was told before every batch, and the batches."""
    told, batches = [], []
    watched = Watched(loader, lambda ids, rng: told.append((ids, rng)))
    for _ in range(epochs):
        batches += [*watched]
    return told, batches


LOADERS = {
    "plain": {"batch_size": 4},
    "dropping": {"batch_size": 4, "drop_last": True, "shuffle": True},
    "sampler": {"batch_size": 5, "sampler": SubsetRandomSampler(range(3, 25))},
    "batches": {"batch_sampler": [[3, 1], [30, 2, 2], torch.tensor([8])]},
    "workers": {
        "batch_size": 4, "num_workers": 2, "prefetch_factor": 3, "persistent_workers": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LOADERS)
def test_the_ids_are_those_of_the_samples_in_the_batch(name):
    loader = DataLoader(Numbered(), **LOADERS[name])
    with torch.random.fork_rng():
        told, batches = heard(loader)
    assert len(batches) == 2 * len(loader)
    assert all(torch.equal(ids, x.long()) for (ids, _), x in zip(told, batches, strict=True))


def test_an_epoch_that_was_left_early_does_not_shift_the_next():
    told = []
    watched = Watched(DataLoader(Numbered(), batch_size=4), lambda ids, _: told.append(ids))
    next(iter(watched))
    assert torch.equal(torch.cat([*watched]).long(), torch.cat(told[1:]))


def test_the_loader_is_left_as_it_was_and_reads_the_same():
    ours, twin = (
        DataLoader(
            Numbered(), batch_size=6, shuffle=True, generator=torch.Generator().manual_seed(7)
        )
        for _ in range(2)
    )
    before = dict(vars(ours))
    _, batches = heard(ours)
    assert vars(ours) == before
    assert all(map(torch.equal, [*batches, *ours], [*twin, *twin, *twin]))


def test_a_subset_has_positions_of_its_own():
    told, _ = heard(DataLoader(Subset(Numbered(), [*range(10, 23)]), batch_size=4), epochs=1)
    assert torch.cat([ids for ids, _ in told]).tolist() == [*range(13)]


def test_batches_of_ours_tell_positions_in_the_source_and_the_generator():
    batches = Batches(Part(Numbered(), torch.arange(5, 19)), 6, shuffle=True)
    found = []
    with torch.random.fork_rng():
        watched = Watched(batches, lambda ids, rng: found.append((ids, rng)))
        for batch in watched:
            ids, rng = found[-1]
            assert torch.equal(ids, batch.long())
            assert torch.equal(rng, torch.get_rng_state())
            torch.rand(700)
    assert len(found) == len(watched) == 3
    assert watched.data is batches.part.source


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(9))


class Endless(Dataset):
    def __getitem__(self, place):
        return float(place)


def lettered():
    return DataLoader(dict(zip("abc", range(3), strict=True)), batch_sampler=[["a", "b"]])


REFUSED = {
    "a list does not tell": lambda: [1, 2],
    "a generator does not tell": lambda: (i for i in range(3)),
    "Stream is iterable": lambda: DataLoader(Stream(), batch_size=3),
    "with batch_size=None": lambda: DataLoader(Numbered(), batch_size=None),
    "with in_order=False": lambda: DataLoader(
        Numbered(), batch_size=4, num_workers=2, in_order=False
    ),
    "Endless does not tell how many": lambda: DataLoader(Endless(), batch_sampler=[[1, 2]]),
    r"draws \['a', 'b'\], not positions": lettered,
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_does_not_tell_its_samples_is_refused(why):
    with pytest.raises(HistoryDoesNotFit, match=why) as told:
        heard(REFUSED[why]())
    assert told.value.hint


class Taking(Numbered):
    """Any key will do."""

    def __getitem__(self, place):
        return 0.0


@pytest.mark.parametrize("drawn", [[[0, -1]], [[3, 31]], [[(1, 64), (2, 64)]]], ids=str)
def test_what_is_drawn_must_be_positions_or_a_purge_would_miss_them(drawn):
    with pytest.raises(HistoryDoesNotFit, match="not positions among 31 samples"):
        heard(DataLoader(Taking(), batch_sampler=drawn))


class Refilling:
    """A sampler that fills the same list for every batch."""

    def __iter__(self):
        ids = []
        for first in range(0, 30, 5):
            ids[:] = range(first, first + 5)
            yield ids

    def __len__(self):
        return 6


def test_a_list_that_is_filled_again_is_told_as_it_was():
    told, batches = heard(DataLoader(Numbered(), batch_sampler=Refilling()), epochs=1)
    assert [ids.tolist() for ids, _ in told] == [batch.long().tolist() for batch in batches]
