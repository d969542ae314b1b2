"""Reviews: whole films in one part, read by their first and last words."""

import json
import lzma
import os
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from expunge import Classes, Request, split
from expunge.errors import CannotRead
from expunge.problems import imdb as problem
from expunge.problems.archives import contents
from expunge.problems.attention import TextTransformer
from expunge.problems.imdb import imdb, movie_of, words
from expunge.problems.texts import words_of
from expunge.unlearning import seeded

FILMS = 20


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two reviews of every film and opinion; each ends in praise or blame."""
    monkeypatch.setenv("EXPUNGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(problem, "ARCHIVE", replace(problem.ARCHIVE, contents=""))
    path = tmp_path / "text" / "imdb.jsonl.xz"
    path.parent.mkdir()
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows())
    return tmp_path


def rows():
    for half in ("train", "test"):
        for label, said in enumerate(("dreadful", "lovely")):
            for k in range(2 * FILMS):
                film = k // 2 + (FILMS if half == "test" else 0)
                text = f"A<br />film,  {'and so on ' * (k % 7)}\nIt's {said}!"
                yield {"split": half, "label": label, "rating": 1, "id": k,
                       "movie": f"tt{film:07d}", "text": text}  # fmt: skip


def unpacked(home):
    """The same as others publish it."""
    films = {}
    for row in rows():
        opinion = ("neg", "pos")[row["label"]]
        path = home / row["split"] / opinion / f"{row['id']}_{row['rating']}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(row["text"])
        films.setdefault((row["split"], opinion), []).append(row["movie"])
    for (half, opinion), found in films.items():
        lines = "".join(f"http://www.imdb.com/title/{film}/usercomments\n" for film in found)
        (home / half / f"urls_{opinion}.txt").write_text(lines)
    return home


@pytest.mark.parametrize("packed", [False, True])
def test_the_published_archive_holds_what_the_lines_do(folder, tmp_path, packed):
    other = tmp_path / "other"
    home = unpacked(other / "text" / "aclImdb")
    if packed:
        with tarfile.open(other / "text" / "aclImdb_v1.tar.gz", "w:gz") as tar:
            tar.add(home, "aclImdb")
        home.rename(other / "elsewhere")
    one, two = (problem.ARCHIVE.arrays(where) for where in (folder, other))
    assert contents(one) == contents(two)


@pytest.fixture(params=[False, True])
def archive(request, folder, tmp_path, monkeypatch):
    """The same as others publish it, and how it is read and what it should hold."""
    found = problem.ARCHIVE.arrays(folder)
    monkeypatch.setattr(problem, "_QUARTER", 2 * FILMS)
    monkeypatch.setattr(problem, "_DIGESTS", problem._parts(found))
    other = tmp_path / "other"
    home = unpacked(other / "text" / "aclImdb")
    tar = other / "text" / "aclImdb_v1.tar.gz"

    def told():
        if request.param:
            with tarfile.open(tar, "w:gz") as file:
                file.add(home, "aclImdb")
            home.rename(other / "elsewhere")
        with pytest.raises(CannotRead) as caught:
            replace(problem.ARCHIVE, contents=contents(found)).arrays(other)
        return str(caught.value)

    def place(name):
        return f"aclImdb/{name} in {tar}" if request.param else str(home / name)

    return home, place, told


def test_a_missing_list_of_films_is_named(archive):
    home, place, told = archive
    (home / "train/urls_pos.txt").unlink()
    assert f"there is no {place('train/urls_pos.txt')}" in told()


def test_a_missing_review_is_named(archive):
    home, place, told = archive
    (home / "test/neg/7_1.txt").unlink()
    assert f"there is no {place('test/neg/7_*.txt')}" in told()


def test_a_review_that_is_no_text_is_named(archive):
    home, place, told = archive
    (home / "train/pos/3_1.txt").write_bytes(b"\xff")
    assert f"{place('train/pos/3_1.txt')} is no text" in told()


def test_a_line_that_names_no_film_is_named(archive):
    home, place, told = archive
    path = home / "test/urls_neg.txt"
    path.write_text(path.read_text().replace("tt0000021", "21", 1))
    assert f"line 3 of {place('test/urls_neg.txt')} names no film" in told()


def test_other_contents_are_told_by_the_folder_or_list_they_are_in(archive):
    home, place, told = archive
    (home / "train/pos/3_1.txt").write_text("Another")
    path = home / "test/urls_neg.txt"
    path.write_text(path.read_text().replace("tt0000021", "tt0000099"))
    films = home / "test/urls_pos.txt"
    films.write_text("".join(films.read_text().splitlines(keepends=True)[:-1]))
    said = told()
    assert f"a review in {place('train/pos')} has another text" in said
    assert f"{place('test/urls_neg.txt')} names other films" in said
    assert f"{place('test/urls_pos.txt')} names 39 films, and not 40" in said
    assert place("train/neg") not in said
    assert place("test/pos") + " " not in said
    assert problem.ARCHIVE.home in said
    assert ("7c2ac02c03563afcf9b574c7e56c153a was expected" in said) == ("aclImdb/" in place(""))


@pytest.mark.slow
@pytest.mark.skipif("EXPUNGE_DATA" not in os.environ, reason="needs IMDB")
def test_known_digests_are_those_of_these_reviews():
    assert problem._parts(problem.ARCHIVE.arrays(None)) == problem._DIGESTS


def test_films_that_validate_train_nowhere_and_the_published_half_tests(folder):
    found = imdb(data=folder)
    films = [set(part.known.tolist()) for part in (found.train, found.validation, found.test)]
    assert films[2] == {*range(FILMS, 2 * FILMS)}
    assert films[0] | films[1] == {*range(FILMS)}
    assert not films[0] & films[1]
    assert 0 < len(found.validation) <= 0.1 * 4 * FILMS


def test_a_film_comes_with_every_batch_and_can_be_asked_for(folder):
    found = imdb(data=folder)
    batch = found.train.prepare(*found.train.tensors)
    assert torch.equal(movie_of(batch), found.train.known)
    assert set(words_of(batch)) == {"input_ids", "attention_mask"}
    parts = split(found.train, Request(Classes((1,))), test=found.test)
    assert len(parts.forget) == (found.train.labels == 1).sum()


def test_words_are_in_lower_case_without_marks():
    assert words("It's <br /><br />GREAT-ish, 10/10") == ["it's", "great", "ish"]


def test_a_long_review_is_read_by_its_beginning_and_its_end(folder):
    short = imdb(data=folder, length=4).train.pieces
    whole = imdb(data=folder, length=40).train.pieces
    for few, all_ in zip(short, whole, strict=True):
        said = all_[all_ != 0]
        assert few.tolist() == [*said[:2].tolist(), *said[-2:].tolist()]


def test_the_commonest_word_has_the_smallest_number_and_rare_ones_none(folder, monkeypatch):
    monkeypatch.setattr(problem, "WORDS", 5)
    pieces = imdb(data=folder, length=40).train.pieces
    counts = np.bincount(pieces[pieces > 1].numpy())
    assert pieces.max() == 4
    assert (np.diff(counts[2:]) <= 0).all()
    assert (pieces == 1).any()


def test_a_review_without_a_film_is_damage(folder):
    path = folder / "text" / "imdb.jsonl.xz"
    text = lzma.decompress(path.read_bytes()).decode().replace("tt0000003", "nobody")
    path.write_bytes(lzma.compress(text.encode()))
    with pytest.raises(CannotRead, match="names no film"):
        imdb(data=folder)


def test_padding_changes_no_answer():
    with seeded(0):
        network = TextTransformer(words=50, length=12, width=32)
    pieces = torch.randint(1, 50, (3, 7))
    padded = torch.cat([pieces, torch.zeros(3, 5, dtype=torch.long)], 1)
    alone = network(pieces, (pieces != 0).long())
    torch.testing.assert_close(network(padded, (padded != 0).long()), alone)


def test_a_small_transformer_learns_praise_from_blame(folder):
    found = imdb(data=folder, epochs=12, lr=0.01, width=32)
    model = found.trained()
    batch = found.test.prepare(*found.test.tensors)
    right = found.task.answer(model, batch).logits.argmax(1) == batch["labels"]
    assert right.float().mean() > 0.95


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("EXPUNGE_DATA"), reason="needs EXPUNGE_DATA")
def test_reviews_are_told_apart_as_well_as_is_known():
    found = imdb()
    model, right = found.trained(), 0
    for rows_ in torch.arange(len(found.test)).split(500):
        batch = found.test.prepare(*(column[rows_] for column in found.test.tensors))
        with torch.no_grad():
            said = found.task.answer(model, batch).logits.argmax(1)
        right += int((said == batch["labels"]).sum())
    assert 0.8 < right / len(found.test) < 0.92
