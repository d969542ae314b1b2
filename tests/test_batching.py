"""A part in batches: every sample once, under its own name, whatever the dataset."""

import pytest
import torch
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from expunge import batching
from expunge.batching import Batches, is_resident
from expunge.splitting import Part

N, D = 23, 3
ROWS = torch.arange(N * D, dtype=torch.float32).reshape(N, D)
LABELS = torch.arange(N) % 5
RESIDENT = TensorDataset(ROWS, LABELS)
IDS = torch.tensor([20, 3, 17, 4, 9, 1, 12, 8, 22, 0, 15])  # 11 samples, in no order


class Plain(Dataset):
    """The same samples, as a dataset that makes them one by one."""

    def __len__(self):
        return N

    def __getitem__(self, index):
        return ROWS[index], LABELS[index]


class Dicts(Plain):
    def __getitem__(self, index):
        return {"x": ROWS[index], "more": {"y": LABELS[index]}, "name": f"n{index}"}


class Noisy(Plain):
    """Random transforms, as in training."""

    def __getitem__(self, index):
        return ROWS[index] + torch.rand(D), LABELS[index]


class Ragged(Plain):
    """Samples of different lengths, which their own function puts together."""

    def __getitem__(self, index):
        return torch.full((1 + index % 3,), float(index)), LABELS[index]

    @staticmethod
    def collate_fn(samples):
        x = nn.utils.rnn.pad_sequence([x for x, _ in samples], batch_first=True)
        return {"x": x, "y": torch.stack([y for _, y in samples])}


class Bytes:
    """Images kept as bytes, normalised a batch at a time."""

    def __init__(self, size=N):
        draw = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (size, 3, 4, 5), dtype=torch.uint8, generator=draw)
        self.labels = torch.arange(size) % 5
        self.prepared = []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        x, y = self.prepare(self.images[index : index + 1], self.labels[index : index + 1])
        return x[0], y[0]

    @property
    def tensors(self):
        return self.images, self.labels

    def prepare(self, images, labels):
        self.prepared.append(len(images))
        return (images.float() / 255 - 0.5) / 0.25, labels


def read(batches):
    """Ids, rows and labels of one pass."""
    ids, found = zip(*batches.indexed(), strict=True)
    x, y = zip(*found, strict=True)
    return torch.cat(ids), torch.cat(x), torch.cat(y), [len(chunk) for chunk in ids]


SOURCES = {"resident": RESIDENT, "plain": Plain()}
either = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


# Every sample once, under its own name


@either
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("size", [1, 2, 4, 10, 11, 100])
def test_every_sample_comes_once_with_its_position_in_the_training_set(source, shuffle, size):
    ids, x, y, sizes = read(Batches(Part(source, IDS), size, shuffle=shuffle))
    assert sorted(ids.tolist()) == sorted(IDS.tolist())
    assert x.equal(ROWS[ids])
    assert y.equal(LABELS[ids])
    assert max(sizes) <= size
    assert len(sizes) == len(Batches(Part(source, IDS), size))


@either
def test_unshuffled_batches_keep_the_order_of_the_part(source):
    assert read(Batches(Part(source, IDS), 4))[0].equal(IDS)


@either
def test_shuffled_batches_come_in_another_order_every_time(source):
    batches = Batches(Part(source, IDS), 4, shuffle=True)
    orders = {tuple(read(batches)[0].tolist()) for _ in range(5)}
    assert len(orders) > 1


@either
def test_the_same_seed_gives_the_same_batches(source):
    passes = []
    for _ in range(2):
        torch.manual_seed(7)
        passes.append([x for x, _ in Batches(Part(source, IDS), 4, shuffle=True).epochs(3)])
    assert all(a.equal(b) for a, b in zip(*passes, strict=True))


def test_resident_and_plain_data_come_in_the_same_order_under_one_seed():
    orders = []
    for source in SOURCES.values():
        torch.manual_seed(7)
        orders.append(read(Batches(Part(source, IDS), 4, shuffle=True))[0])
    assert orders[0].equal(orders[1])


@pytest.mark.parametrize("size", range(3, 40))
def test_the_last_batch_is_never_a_single_sample_left_over(size):
    for count in range(2, 23):
        part = Part(RESIDENT, torch.arange(count))
        sizes = [len(ids) for ids, _ in Batches(part, size).indexed()]
        assert min(sizes) >= 2
        assert max(sizes) - min(sizes) <= 1
        assert sum(sizes) == count


# Passes


@either
def test_epochs_are_so_many_passes(source):
    batches = Batches(Part(source, IDS), 4)
    assert len(batches) == 3
    assert sum(len(x) for x, _ in batches.epochs(5)) == 5 * len(IDS)
    assert [*batches.epochs(0)] == []


def test_endless_goes_on():
    stream = Batches(Part(RESIDENT, IDS), 4).endless()
    assert sum(len(next(stream)[0]) for _ in range(9)) == 3 * len(IDS)


@either
def test_an_empty_part_has_no_batches(source):
    empty = Batches(Part(source, torch.zeros(0, dtype=torch.long)), 4)
    assert len(empty) == 0
    assert [*empty] == [*empty.endless()] == [*empty.epochs(3)] == []


@either
def test_take_gives_samples_by_their_position_in_the_training_set(source):
    wanted = torch.tensor([17, 0, 17])
    x, y = Batches(Part(source, IDS), 2).take(wanted)
    assert x.equal(ROWS[wanted])
    assert y.equal(LABELS[wanted])


def test_batches_go_to_their_device():
    batches = Batches(Part(Dicts(), IDS), 4, device=torch.device("meta"))
    batch = next(iter(batches))
    assert batch["x"].device.type == batch["more"]["y"].device.type == "meta"
    assert batch["name"] == ["n20", "n3", "n17", "n4"]
    assert batches.take(IDS[:2])["x"].device.type == "meta"


# All kinds of datasets


def test_samples_may_be_nested_mappings_with_words():
    batches = Batches(Part(Dicts(), IDS), 4)
    found = [*batches]
    assert torch.cat([b["x"] for b in found]).equal(ROWS[IDS])
    assert torch.cat([b["more"]["y"] for b in found]).equal(LABELS[IDS])
    assert [name for b in found for name in b["name"]] == [f"n{i}" for i in IDS.tolist()]


def test_samples_of_different_lengths_are_put_together_by_their_dataset():
    for ids, batch in Batches(Part(Ragged(), IDS), 4).indexed():
        assert batch["x"].shape == (len(ids), int((1 + ids % 3).max()))
        assert batch["x"][:, 0].equal(ids.float())


def test_random_transforms_are_not_frozen():
    assert not is_resident(Noisy())
    batches = Batches(Part(Noisy(), IDS), 4)
    first, second = read(batches), read(batches)
    assert first[0].equal(second[0])
    assert not first[1].equal(second[1])


def test_random_transforms_follow_the_seed():
    batches = Batches(Part(Noisy(), IDS), 4)
    torch.manual_seed(1)
    first = read(batches)[1]
    torch.manual_seed(1)
    assert read(batches)[1].equal(first)


def test_a_subclass_that_transforms_its_tensors_is_asked_for_its_samples():
    class Doubled(TensorDataset):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return 2 * x, y

    assert not is_resident(Doubled(ROWS, LABELS))
    assert read(Batches(Part(Doubled(ROWS, LABELS), IDS), 4))[1].equal(2 * ROWS[IDS])


def test_bytes_are_prepared_a_batch_at_a_time():
    source = Bytes()
    assert is_resident(source)
    _, x, _, _ = read(Batches(Part(source, IDS), 4))
    assert source.prepared == [4, 4, 3]
    assert x.equal((source.images[IDS].float() / 255 - 0.5) / 0.25)
    source.prepared.clear()
    assert torch.equal(source[int(IDS[0])][0], x[0])


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "strided"])
def test_images_come_out_as_they_lie_in_any_layout(layout):
    images = torch.arange(N * 2 * 3 * 4.0).reshape(N, 2, 3, 4)
    if layout == "channels last":
        images = images.contiguous(memory_format=torch.channels_last)
    if layout == "strided":
        images = images.repeat(2, 1, 1, 1)[::2]
    found = Batches(Part(TensorDataset(images), IDS), 4)
    assert torch.cat([x for (x,) in found]).equal(images[IDS])


def test_parts_and_subsets_within_each_other_are_looked_through():
    some = [9, 21, 2, 14, 6]
    inner = Subset(Part(RESIDENT, torch.arange(N - 1, -1, -1)), some)
    batches = Batches(Part(inner, torch.tensor([4, 0, 2])), 2)
    ids, x, _, _ = read(batches)
    assert ids.tolist() == [4, 0, 2]
    assert x.equal(ROWS[[N - 1 - 6, N - 1 - 9, N - 1 - 2]])


def test_datasets_put_end_to_end_are_read_through():
    both = ConcatDataset([Plain(), RESIDENT])
    ids = torch.tensor([N + 2, 3])
    assert read(Batches(Part(both, ids), 2))[1].equal(ROWS[[2, 3]])


@pytest.mark.parametrize("source", [Plain(), Dicts()], ids=["plain", "dicts"])
def test_workers_read_the_same_in_the_same_order(source, monkeypatch):
    loaders = []
    loader = batching.DataLoader

    def seen(*args, **settings):
        loaders.append(settings["num_workers"])
        return loader(*args, **settings)

    monkeypatch.setattr(batching, "DataLoader", seen)
    ids = torch.arange(N).repeat(3)[: 2 * 32]
    many, few = Batches(Part(source, ids), 2), Batches(Part(source, ids), 16)
    assert len(many) == 32
    pick = (lambda b: b["x"]) if isinstance(source, Dicts) else (lambda b: b[0])
    assert torch.cat([pick(b) for b in many]).equal(torch.cat([pick(b) for b in few]))
    assert loaders[0] > 0
    assert loaders[1] == 0


# The caller's data stay the caller's


@either
def test_a_model_that_works_in_place_does_not_write_into_the_data(source):
    before = ROWS.clone(), LABELS.clone()
    whole = Part.whole(source)
    for batches in (Batches(whole, 4), Batches(whole, N), Batches(Part(source, IDS[:1]))):
        for x, y in batches:
            x.zero_()
            y.fill_(-1)
        for tensor in batches.take(torch.arange(N)):
            tensor.zero_()
    assert ROWS.equal(before[0])
    assert LABELS.equal(before[1])
