"""IMDB: 50,000 reviews of films, and whether each praises its film.

The published halves are kept, but films of which a tenth of the training reviews tell validate. A
review is read by its first and its last words: its beginning says what it is about, and its end
what to think of it. Words are those that training reviews use most.
"""

import json
import lzma
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from expunge.fitting import Fit
from expunge.problems.archives import Archive, Array, Arrays, Form, cache_folder, mapped, members
from expunge.problems.attention import TextTransformer
from expunge.problems.checksums import Checksum, published
from expunge.problems.problem import Problem
from expunge.problems.texts import Sentences, labels_of, words_of
from expunge.recipe import Recipe
from expunge.storing import digest_text
from expunge.tasks import Batch, Classification

WORDS = 20_000
"""How many are known; numbers 0 and 1 stand for none and for any other."""
_SHARE = 0.1  # of the training reviews, that validate
_FILM = re.compile(r"tt(\d+)")
_PLACE = re.compile(r"(train|test)/(neg|pos)/(\d+)_\d+\.txt")
_MEMBER = re.compile(
    r"(?:.*/)?aclImdb/((?:train|test)/(?:(?:neg|pos)/\d+_\d+|urls_(?:neg|pos))\.txt)"
)
_QUARTERS = [(half, opinion) for half in ("train", "test") for opinion in ("neg", "pos")]
_QUARTER = 12_500  # how many reviews each of them holds
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


def imdb(
    *,
    data: str | Path | None = None,
    length: int = 128,
    width: int = 64,
    epochs: int = 3,
    lr: float = 2e-3,
) -> Problem:
    """Tell praise from blame: a small transformer, trained from nothing by a one-cycle schedule."""
    found = ARCHIVE.arrays(data)
    key = digest_text(ARCHIVE.contents, str(length), str(WORDS), _WORD.pattern)
    kept = cache_folder() / f"imdb-{key[:16]}"
    pieces = torch.from_numpy(mapped(kept, partial(_numbered, found, length))["pieces"])
    answers = [torch.from_numpy(found[name]) for name in ("label", "movie")]
    tests = torch.from_numpy(found["test"])
    validates = ~tests & _some(answers[1], tests)

    def part(rows: Tensor) -> Sentences:
        labels, movies = (values[rows] for values in answers)
        return Sentences(pieces[rows], labels, movies)

    task = Classification(inputs=words_of, labels=labels_of, attributes={"movie": movie_of})
    fit = Fit(
        epochs=epochs, lr=lr, batch=64, optimizer="adamw", schedule="onecycle", weight_decay=0.01,
        task=task,
    )  # fmt: skip
    build = partial(TextTransformer, words=WORDS, length=length, width=width)
    return Problem(
        train=part(~tests & ~validates),
        test=part(tests),
        validation=part(validates),
        task=task,
        recipe=Recipe(build, fit, name=f"imdb-transformer-{width}"),
    )


def movie_of(batch: Batch) -> Tensor:
    """Which film a review is about, by its number."""
    found: Tensor = batch["known"]
    return found


class Review(NamedTuple):
    """One of them."""

    split: str
    label: int
    movie: int
    text: str


def words(text: str) -> list[str]:
    """What a review consists of, in lower case."""
    return _WORD.findall(text.lower().replace("<br />", " "))


def _some(movies: Int[Tensor, " n"], tests: Tensor) -> Tensor:
    """Whole films, until they have the share that validates."""
    found, sizes = movies[~tests].unique(return_counts=True)
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))
    enough = int((sizes[order].cumsum(0) < _SHARE * len(movies[~tests])).sum())
    return torch.isin(movies, found[order[:enough]])


def _numbered(found: Arrays, length: int) -> Arrays:
    """The first and last words of every review, by how common they are where one trains."""
    texts = [words(text) for text in _texts(found)]
    trained = (text for text, test in zip(texts, found["test"], strict=True) if not test)
    counted = Counter(chain.from_iterable(trained))
    common = sorted(counted.items(), key=lambda each: (-each[1], each[0]))
    number = {word: k for k, (word, _) in enumerate(common[: WORDS - 2], start=2)}
    pieces = np.zeros((len(texts), length), np.int32)
    half = length // 2
    for row, text in zip(pieces, texts, strict=True):
        some = text if len(text) <= length else text[: length - half] + text[len(text) - half :]
        row[: len(some)] = [number.get(word, 1) for word in some]
    return {"pieces": pieces}


def _texts(found: Arrays) -> list[str]:
    raw, ends = found["texts"].tobytes(), found["ends"]
    starts = np.concatenate([[0], ends[:-1]])
    return [raw[a:b].decode() for a, b in zip(starts, ends, strict=True)]


def _told(reviews: Iterable[Review]) -> Arrays:
    """As arrays; whatever lies between two words is one blank, as forms differ in it."""
    found = list(reviews)
    texts = [" ".join(review.text.split()).encode() for review in found]
    return {
        "texts": np.frombuffer(b"".join(texts), np.uint8),
        "ends": np.cumsum([len(text) for text in texts], dtype=np.int64),
        "label": np.array([review.label for review in found], np.int64),
        "movie": np.array([review.movie for review in found], np.int64),
        "test": np.array([review.split == "test" for review in found]),
    }


def _lines(paths: Sequence[Path]) -> Arrays:
    (path,) = paths
    with lzma.open(path, "rt", encoding="utf-8") as file:
        rows = (json.loads(line) for line in file)
        return _told(
            Review(row["split"], row["label"], _movie(row["movie"]), row["text"]) for row in rows
        )


def _folder(paths: Sequence[Path]) -> Arrays:
    """As it is unpacked: a file a review, and lines that tell the film of each."""
    folders = [path / name for path in paths for name in ("neg", "pos")]
    files = [*(path for folder in folders for path in folder.iterdir()),
             *(path for folder in paths for path in folder.glob("urls_*.txt"))]  # fmt: skip
    home = paths[0].parent
    raw = {path.relative_to(home).as_posix(): path.read_bytes() for path in files}
    return _of_files(raw, paths)


def _packed(paths: Sequence[Path]) -> Arrays:
    """As it is fetched; half of it are reviews without an opinion, which are left out."""
    return _of_files(members(paths[0], _MEMBER), paths)


def _of_files(files: Mapping[str, bytes], paths: Sequence[Path]) -> Arrays:
    """Reviews by half, opinion and number, which stands first in the name of a file."""
    names = {
        f"{found[1]}/{found[2]}/{int(found[3])}": name
        for name in files if (found := _PLACE.fullmatch(name))
    }  # fmt: skip

    def reviews(split: str, opinion: str) -> Iterator[Review]:
        films = f"{split}/urls_{opinion}.txt"
        for k, film in enumerate(_text(files, paths, films).splitlines()):
            found, place = _FILM.search(film), f"{split}/{opinion}/{k}"
            if found is None:
                raise ValueError(f"line {k + 1} of {_called(paths, films)} names no film: {film}")
            said = _text(files, paths, names.get(place, f"{place}_*.txt"))
            yield Review(split, int(opinion == "pos"), int(found[1]), said)

    return _told(chain.from_iterable(reviews(*quarter) for quarter in _QUARTERS))


def _text(files: Mapping[str, bytes], paths: Sequence[Path], name: str) -> str:
    if name not in files:
        raise ValueError(f"there is no {_called(paths, name)}")
    try:
        return files[name].decode()
    except UnicodeDecodeError as why:
        raise ValueError(f"{_called(paths, name)} is no text: {why}") from why


def _called(paths: Sequence[Path], name: str) -> str:
    """A file of a folder or an archive, as an error names it."""
    first = paths[0]
    return f"aclImdb/{name} in {first}" if first.suffix == ".gz" else str(first.parent / name)


def _others(paths: Sequence[Path], found: Arrays) -> Iterator[str]:
    """Which lists of films, and which folders of reviews, are not those that were published."""
    parts = _parts(found)
    for split, opinion in _QUARTERS:
        films, said = f"{split}/urls_{opinion}.txt", f"{split}/{opinion}"
        count = len(_rows(found, split, opinion))
        if count != _QUARTER:  # then other reviews are read than should be
            yield f"{_called(paths, films)} names {count:,} films, and not {_QUARTER:,}"
            continue
        if parts[films] != _DIGESTS[films]:
            yield f"{_called(paths, films)} names other films than were published"
        if parts[said] != _DIGESTS[said]:
            yield f"a review in {_called(paths, said)} has another text than was published"


def _parts(found: Arrays) -> dict[str, str]:
    """Digests of the films in each list, and of the texts in each folder."""
    texts, parts = _texts(found), {}
    for split, opinion in _QUARTERS:
        rows = _rows(found, split, opinion)
        films = digest_text(*map(str, found["movie"][rows]))
        parts[f"{split}/urls_{opinion}.txt"] = films[:16]
        parts[f"{split}/{opinion}"] = digest_text(*(texts[row] for row in rows))[:16]
    return parts


def _rows(found: Arrays, split: str, opinion: str) -> Array:
    theirs = (found["test"] == (split == "test")) & (found["label"] == int(opinion == "pos"))
    return np.flatnonzero(theirs)


def _movie(address: str) -> int:
    """The number of a film, of its address or its name."""
    found = _FILM.search(address)
    if found is None:
        raise ValueError(f"{address} names no film")
    return int(found[1])


_TAR = "text/aclImdb_v1.tar.gz"
_DIGESTS = {  # of the lines of each list, and of the texts in each folder
    "train/urls_neg.txt": "770895bb53746d7f",
    "train/neg": "9065b0aa0068cc20",
    "train/urls_pos.txt": "278923f02e8028c2",
    "train/pos": "ba2b974ff58f977f",
    "test/urls_neg.txt": "5e63bd17bd79d806",
    "test/neg": "ad8026386d8ec73e",
    "test/urls_pos.txt": "e2a5399c50da1449",
    "test/pos": "dfd4fa495f4ae170",
}
ARCHIVE = Archive(
    "IMDB",
    "https://ai.stanford.edu/~amaas/data/sentiment",
    (
        Form(
            {
                "text/imdb.jsonl.xz": Checksum(
                    "ae8e79093f989c2e5746218bcf17e9aa7c0dd66c134481b42ebbe31cb3274c9f"
                )
            },
            _lines,
        ),
        Form({f"text/aclImdb/{half}": None for half in ("train", "test")}, _folder, _others),
        Form({_TAR: published(_TAR)}, _packed, _others),
    ),
    contents="6b11f125aa9f2e4837d187ecb024c35d1d5a732fd9d3449bcd0a5ae199a86157",
)
