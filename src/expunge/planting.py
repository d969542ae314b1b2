"""Plant canaries: records that are trained on or not by the toss of a coin, and asked about later.

Natural canaries are records set aside from the data; they tell what happens to ordinary people.
Mislabelled ones wear a wrong label that no other record hints at, so that a model can only know
them by heart: they are the stress arm, and what leaks at all leaks there first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import ConcatDataset, TensorDataset

from expunge.batching import is_resident
from expunge.errors import BadSetting
from expunge.splitting import Data, Part, labels_of, rooted
from expunge.tasks.reading import mapped

NATURAL, MISLABELLED = "natural", "mislabelled"


@dataclass(frozen=True, slots=True, eq=False)
class Canaries:
    """Records that may be planted, arm by arm."""

    data: Data
    arms: Mapping[str, Int[Tensor, " k"]]  # which rows of the data each arm has

    def __len__(self) -> int:
        return len(self.data)

    @classmethod
    def of(cls, arms: Mapping[str, Data]) -> "Canaries":
        """Canaries of one's own: a dataset an arm."""
        if not arms or min(map(len, arms.values())) == 0:
            raise BadSetting("an arm of canaries is empty", hint="give every arm some records.")
        sizes = torch.tensor([len(data) for data in arms.values()])
        rows = torch.arange(int(sizes.sum())).split(sizes.tolist())
        return cls(joined(*arms.values()), dict(zip(arms, rows, strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of tensors that another dataset knows how to make ready."""

    tensors: tuple[Tensor, ...]
    ready: Callable[..., Any]

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> Any:
        return mapped(self.prepare(*(t[index][None] for t in self.tensors)), lambda rows: rows[0])

    def prepare(self, *rows: Tensor) -> Any:
        """Turn stored rows into a batch."""
        return self.ready(*rows)


@dataclass(frozen=True, slots=True, eq=False)
class Relabelled:
    """Samples of another dataset under labels of ours; a sample is a tuple, its label second."""

    source: Data
    targets: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        x, label, *more = self.source[index]
        new = self.targets[index]
        return (x, new if isinstance(label, Tensor) else int(new), *more)


def set_aside(data: Data, count: int, seed: int, *, wrong: bool = True) -> tuple[Data, Canaries]:
    """Take canaries out of a training set, by the seed; half of them get a wrong label.

    Args:
        data: The training set.
        count: How many records become canaries.
        seed: Chooses them, and their labels.
        wrong: Whether there is a mislabelled arm: labels must be classes.
    """
    if not 0 < count < len(data):
        raise BadSetting(
            f"{count} canaries cannot be set aside from {len(data)} records",
            hint="take at most half of the records, or give canaries of your own.",
        )
    order = torch.randperm(len(data), generator=_by(seed))
    natural = order[: count - count // 2 if wrong else count].sort().values
    arms: dict[str, Data] = {NATURAL: taken(data, natural)}
    if wrong and count > 1:
        chosen = order[len(natural) : count].sort().values
        arms[MISLABELLED] = mislabelled(taken(data, chosen), seed, labels_of(data).unique())
    return taken(data, order[count:].sort().values), Canaries.of(arms)


def mislabelled(data: Data, seed: int, classes: Int[Tensor, " c"] | None = None) -> Data:
    """The same samples, each under a label that is not its own.

    Args:
        data: Samples with their true labels.
        seed: Draws the wrong ones.
        classes: Labels to draw from; None takes those of the data.
    """
    labels = labels_of(data)
    known = labels.unique() if classes is None else classes.unique()
    if len(known) < 2:
        raise BadSetting("one class leaves no wrong label", hint="give samples of several classes.")
    shift = torch.randint(1, len(known), (len(labels),), generator=_by(seed))
    wrong = known[(torch.searchsorted(known, labels) + shift) % len(known)]
    root, ids = rooted(data, torch.arange(len(data)))
    if not is_resident(root):
        return Relabelled(data, wrong)
    rows = [x[ids.to(x.device)] for x in root.tensors]
    rows[1] = wrong.to(rows[1])
    return _resting(root, rows)


def taken(data: Data, ids: Int[Tensor, " k"]) -> Data:
    """Some samples of a dataset as one of its own: who holds it cannot reach the others.

    Where samples are not rows in memory, it is a view.
    """
    root, inside = rooted(data, ids)
    if not is_resident(root):
        return Part(data, ids)
    return _resting(root, [x[inside.to(x.device)] for x in root.tensors])


def joined(*parts: Data) -> Data:
    """Several datasets, one after the other."""
    roots = [rooted(part, torch.arange(len(part))) for part in parts]
    first = roots[0][0]
    alike = all(is_resident(root) and _alike(root, first) for root, _ in roots)
    if not alike:
        found: Data = ConcatDataset([Part.whole(part) for part in parts])
        return found
    columns = zip(
        *([x[ids.to(x.device)] for x in root.tensors] for root, ids in roots), strict=True
    )
    return _resting(first, [torch.cat(column) for column in columns])


def _resting(root: Any, rows: Sequence[Tensor]) -> Data:
    ready = getattr(root, "prepare", None)
    return TensorDataset(*rows) if ready is None else Rows((*rows,), getattr(root, "ready", ready))


def _alike(one: Any, other: Any) -> bool:
    """Whether rows of both may lie in one dataset: of equal shapes, and made ready alike.

    Bound methods of two datasets are never equal; what they offer as ``ready`` may be.
    """
    shapes = [[(x.shape[1:], x.dtype) for x in each.tensors] for each in (one, other)]
    ready = [getattr(each, "ready", getattr(each, "prepare", None)) for each in (one, other)]
    return shapes[0] == shapes[1] and ready[0] == ready[1]


def _by(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
