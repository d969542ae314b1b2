"""Turn requests into data: what to forget, what to keep."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset

from expunge.errors import MissingInput, RequestDoesNotFit
from expunge.request import Attribute, Classes, Request, Samples, Target, kind_of


@runtime_checkable
class Data(Protocol):
    """Any map-style dataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


Labels = Sequence[int] | Tensor | Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True, eq=False)
class Part(Dataset[Any]):
    """Some samples of a dataset, and where they came from."""

    source: Data
    indices: Int[Tensor, " n"]

    @classmethod
    def whole(cls, source: Data) -> "Part":
        """Every sample of a dataset."""
        return cls(source, torch.arange(len(source)))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.source[int(self.indices[index])]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Requests applied to a training set. ``forget`` and ``retain`` partition it."""

    requests: tuple[Request, ...]
    forget: Part
    retain: Part
    test: Part
    validation: Part | None = None  # None: nobody set data aside for methods to look at

    @property
    def targets(self) -> tuple[Target, ...]:
        """What the requests name."""
        return tuple(request.target for request in self.requests)

    @property
    def kind(self) -> str:
        """What leaves: ``samples``, ``classes``, an ``attribute``, or ``mixed``."""
        kinds = {kind_of(target) for target in self.targets}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def removed(self) -> tuple[int, ...]:
        """Classes that leave as a whole."""
        found = {int(k) for t in self.targets if isinstance(t, Classes) for k in t.labels}
        return tuple(sorted(found))


def split(
    train: Data,
    *requests: Request,
    test: Data,
    validation: Data | None = None,
    labels: Labels = None,
) -> Split:
    """Partition ``train`` according to one request or several.

    Args:
        train: The training set, with samples in a fixed order.
        *requests: What must go; the forget set is what any of them names.
        test: Data that no model saw in training.
        validation: Data that a method may look at to know when to stop.
        labels: One label a training sample, or a function from a sample to its label. Needed
            for `Classes` only, and only when ``train`` is no ``TensorDataset`` and has no
            ``targets``.
    """
    _check_data(train, test)
    if not requests:
        raise MissingInput("no request was given", hint="split(train, Request(...), test=test).")
    _check_ids(requests)
    chosen = torch.zeros(len(train), dtype=torch.bool)
    for request in requests:
        chosen[_positions(request.target, train, labels)] = True
    forget, retain = chosen.nonzero().flatten(), (~chosen).nonzero().flatten()
    _check_sizes(requests, forget, retain)
    aside = None if validation is None else Part.whole(validation)
    return Split(requests, Part(train, forget), Part(train, retain), Part.whole(test), aside)


def labels_of(data: Data, labels: Labels = None) -> Int[Tensor, " n"]:
    """One label a sample, without visiting samples where that can be helped."""
    if labels is None:
        return _whole(_stored_labels(data))
    if callable(labels):
        return _whole([int(labels(sample)) for sample in _samples(data)])
    return _whole(labels)


def _stored_labels(data: Data) -> Any:
    root, ids = rooted(data, torch.arange(len(data)))
    tensors = getattr(root, "tensors", None)
    if isinstance(tensors, tuple):
        return tensors[1][ids] if len(tensors) > 1 else _no_labels(data)
    if hasattr(root, "targets"):
        return _whole(root.targets)[ids]
    return [
        sample[1] if isinstance(sample, (tuple, list)) and len(sample) > 1 else _no_labels(data)
        for sample in _samples(data)
    ]


def rooted(data: Any, ids: Int[Tensor, " n"]) -> tuple[Any, Int[Tensor, " n"]]:
    """Look through parts and subsets to the dataset that holds the samples.

    A class of a user's own that inherits from ``Subset`` may transform samples: it is a root.
    """
    while isinstance(data, Part) or type(data) is Subset:
        ids = torch.as_tensor(data.indices)[ids]
        data = data.source if isinstance(data, Part) else data.dataset
    return data, ids


def _samples(data: Data) -> Iterator[Any]:
    return (data[i] for i in range(len(data)))


def _no_labels(data: Data) -> Any:
    raise MissingInput(
        f"the samples of {type(data).__name__} do not tell their labels",
        hint="pass split(..., labels=...): a list, or a function from a sample to its label.",
    )


def _whole(labels: Any) -> Tensor:
    hint = "name the records with Samples(...), or pass split(..., labels=...)."
    try:
        found = torch.as_tensor(labels)
    except (RuntimeError, TypeError, ValueError) as why:
        raise RequestDoesNotFit(f"labels are not whole numbers: {why}", hint=hint) from why
    if found.ndim == 1 and not found.is_floating_point():
        return found.long()
    raise RequestDoesNotFit(
        f"labels are {found.dtype} of shape {tuple(found.shape)}, not one whole number a sample",
        hint=hint,
    )


def _positions(target: Target, train: Data, labels: Labels) -> Tensor:
    match target:
        case Samples(indices):
            return _checked_indices(_integers(indices), len(train))
        case Classes(wanted):
            return _of_classes(_integers(wanted), labels_of(train, labels), len(train))
        case Attribute():
            return torch.zeros(0, dtype=torch.long)


def _integers(values: Iterable[Any]) -> list[int]:
    values = [*values]
    if any(map(_is_truth, values)):
        raise RequestDoesNotFit(
            "a request names samples and classes by whole numbers, and was given true and false",
            hint="name the places where a mask is true: Samples(mask.nonzero().flatten()).",
        )
    try:
        return [index(value) for value in values]
    except TypeError as why:
        raise RequestDoesNotFit(
            f"a request names samples and classes by whole numbers: {why}",
            hint="Samples((3, 14, 159)) or Classes((7,)).",
        ) from why


def _is_truth(value: Any) -> bool:
    """Whether this is an element of a mask, of whichever library; Python counts it as 0 or 1."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")


def _checked_indices(indices: list[int], size: int) -> Tensor:
    wrong = [i for i in indices if not 0 <= i < size]
    if wrong:
        raise RequestDoesNotFit(
            f"{len(wrong)} of {len(indices)} indices lie outside the training set of {size} "
            f"samples, the first is {wrong[0]}",
            hint=f"name samples by their position, from 0 to {size - 1}.",
        )
    if len(set(indices)) < len(indices):
        twice, _ = Counter(indices).most_common(1)[0]
        raise RequestDoesNotFit(
            f"the request names sample {twice} more than once",
            hint="name every sample once, so that the counts in the report are right.",
        )
    return torch.tensor(indices, dtype=torch.long)


def _of_classes(wanted: list[int], labels: Tensor, size: int) -> Tensor:
    if len(set(wanted)) < len(wanted):
        twice, _ = Counter(wanted).most_common(1)[0]
        raise RequestDoesNotFit(
            f"the request names class {twice} more than once", hint="name every class once."
        )
    if len(labels) != size:
        raise RequestDoesNotFit(
            f"{len(labels)} labels were given for {size} training samples",
            hint="give one label a sample, in the order of the training set.",
        )
    known = labels.unique().tolist()
    unknown = [k for k in wanted if k not in known]
    if unknown:
        raise RequestDoesNotFit(
            f"no training sample carries the label {unknown[0]}",
            hint=f"the labels are {known if len(known) <= 20 else f'{known[:20]} and more'}.",
        )
    return torch.isin(labels, torch.tensor(wanted, dtype=torch.long)).nonzero().flatten()


def _check_data(train: Data, test: Data) -> None:
    for name, data in (("train", train), ("test", test)):
        # Every dataset of torch has __getitem__, be it one that is only streamed.
        streamed = isinstance(data, IterableDataset)
        if streamed or not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
            raise MissingInput(
                f"{name} is a {type(data).__name__}, which cannot be read by position",
                hint="use a map-style dataset: one with __len__ and __getitem__.",
            )
        if len(data) == 0:
            raise MissingInput(
                f"{name} has no samples", hint="check the path or the filter that it was made with."
            )


def _check_ids(requests: Sequence[Request]) -> None:
    for each in requests:
        if not isinstance(each, Request):
            raise RequestDoesNotFit(
                f"{each!r} is no request", hint="wrap what is to go: Request(Classes([3]))."
            )
    twice = [name for name, count in Counter(r.id for r in requests).items() if count > 1]
    if twice:
        raise RequestDoesNotFit(
            f"two requests have the id {twice[0]!r}",
            hint="give every request an id of its own, so that each can be answered for.",
        )


def _check_sizes(requests: tuple[Request, ...], forget: Tensor, retain: Tensor) -> None:
    if all(isinstance(request.target, Attribute) for request in requests):
        return
    if len(forget) == 0:
        raise RequestDoesNotFit(
            "the forget set is empty: the request names no sample",
            hint="name at least one sample or class.",
        )
    if len(retain) == 0:
        raise RequestDoesNotFit(
            f"the forget set is the whole training set of {len(forget)} samples",
            hint="nothing would remain: delete the model instead.",
        )
