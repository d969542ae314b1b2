"""Data sets in a folder: every form holds the same, and what is missing or damaged is named."""

import io
import lzma
import os
import pickle
import tarfile
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from expunge.errors import CannotRead, MissingInput
from expunge.problems import adult, cifar10, clinc150, fashion, mnist, utkface, yaleb
from expunge.problems.archives import Archive, contents, mapped, packed
from expunge.problems.pictures import cifar_forms, idx_forms, strips

ALL = (adult, cifar10, clinc150, fashion, mnist, utkface, yaleb)
STRIP = 3


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPUNGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def stored(path, arrays):
    """As the data folder has it: strips of encoded pictures, labels of one byte."""
    image = pytest.importorskip("PIL.Image")
    kept = {}
    for name, values in arrays.items():
        if name.startswith("y"):
            kept[name] = values.astype(np.uint8)
            continue
        blobs = []
        for k in range(0, len(values), STRIP):
            rows = np.concatenate(values[k : k + STRIP].transpose(0, 2, 3, 1))
            file = io.BytesIO()
            image.fromarray(rows.squeeze()).save(file, "PNG")
            blobs.append(np.frombuffer(file.getvalue(), np.uint8))
        kept[f"{name}_blob"] = np.concatenate(blobs)
        kept[f"{name}_offsets"] = np.cumsum([0, *map(len, blobs)])
        kept["image_shape"] = np.array([*values.shape[2:], values.shape[1]])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **kept)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_files_hold_what_encoded_strips_do(tmp_path, grey, end, idx, both):
    archive = Archive("Grey", "home", (strips("g.npz", "", "y_train", "y_test"),), contents(grey))
    stored(tmp_path / "one" / "g.npz", grey)
    assert both(archive.arrays(tmp_path / "one"), grey)
    published = replace(archive, forms=(*archive.forms, *idx_forms("grey")))
    for part, name in (("train", "train"), ("test", "t10k")):
        idx(tmp_path / f"two/grey/{name}-images-idx3-ubyte{end}", grey[f"x_{part}"][:, 0])
        idx(tmp_path / f"two/grey/{name}-labels-idx1-ubyte{end}", grey[f"y_{part}"])
    assert both(published.arrays(tmp_path / "two"), grey)


@pytest.mark.parametrize("packed_", [False, True])
def test_pickled_batches_hold_what_encoded_strips_do(tmp_path, coloured, packed_, batches, both):
    archive = Archive("CIFAR", "home", (*cifar_forms("c"),), contents(coloured))
    folder = tmp_path / "c" / "cifar-10-batches-py"
    batches(folder, coloured)
    if packed_:
        with tarfile.open(tmp_path / "c" / "cifar-10-python.tar.gz", "w:gz") as tar:
            tar.add(folder, "cifar-10-batches-py")
        (folder / "test_batch").unlink()
    assert both(archive.arrays(tmp_path), coloured)


def test_a_batch_as_python_two_wrote_it_is_read(tmp_path, coloured, batches, both):
    archive = Archive("CIFAR", "home", (*cifar_forms("c"),), contents(coloured))
    folder = tmp_path / "c" / "cifar-10-batches-py"
    batches(folder, coloured)
    for path in folder.iterdir():
        old = path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        path.write_bytes(old)
    assert both(archive.arrays(tmp_path), coloured)


def test_a_batch_that_would_do_something_is_refused(tmp_path, coloured, batches):
    class Malice:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "done"),)

    archive = Archive("CIFAR", "home", (*cifar_forms("c"),), "")
    folder = tmp_path / "c" / "cifar-10-batches-py"
    batches(folder, coloured)
    (folder / "data_batch_3").write_bytes(pickle.dumps(Malice(), protocol=2))
    with pytest.raises(CannotRead, match="asks for"):
        archive.arrays(tmp_path)
    assert not (tmp_path / "done").exists()


def test_pictures_are_decoded_once(tmp_path, grey, monkeypatch, both):
    archive = Archive("Grey", "home", (strips("g.npz", "", "y_train", "y_test"),), contents(grey))
    stored(tmp_path / "g.npz", grey)
    once = archive.arrays(tmp_path)
    assert all(isinstance(values, np.memmap) for values in once.values())
    monkeypatch.setattr(Archive, "_read", lambda *_: pytest.fail("read a second time"))
    assert both(archive.arrays(tmp_path), once)


def test_what_was_not_written_to_its_end_is_made_again(tmp_path, grey, both):
    made = []
    (tmp_path / "x_train.npy").write_bytes(b"half")
    for _ in range(2):
        found = mapped(tmp_path, lambda: made.append(1) or grey)
    assert made == [1]
    assert both(found, grey)


def test_a_changed_file_is_read_anew(tmp_path, grey, both):
    archive = Archive("Grey", "home", (strips("g.npz", "", "y_train", "y_test"),), "")
    stored(tmp_path / "g.npz", grey)
    archive.arrays(tmp_path)
    other = grey | {"y_test": grey["y_test"] + 1}
    stored(tmp_path / "g.npz", other)
    os.utime(tmp_path / "g.npz", ns=(1, 1))
    assert both(archive.arrays(tmp_path), other)


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)


def words(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\n")


@pytest.mark.parametrize("harm", [cut, flip, words])
def test_a_damaged_file_is_named_with_its_checksum_and_the_expected_one(tmp_path, grey, harm):
    path = tmp_path / "g.npz"
    stored(path, grey)
    form = strips("g.npz", "a" * 64, "y_train", "y_test")
    harm(path)
    with pytest.raises(CannotRead, match="cannot be read as Grey") as caught:
        Archive("Grey", "https://home", (form,), contents(grey)).arrays(tmp_path)
    told = str(caught.value)
    assert str(path) in told
    assert f"{'a' * 64} was expected" in told
    assert "https://home" in told


@pytest.mark.parametrize("harm", [cut, flip])
def test_a_damaged_text_is_named(tmp_path, harm):
    path = tmp_path / "t.xz"
    path.write_bytes(lzma.compress(b"a line\n" * 1000))
    harm(path)
    with pytest.raises(CannotRead, match="b" * 64):
        Archive("Text", "home", (packed("t.xz", "b" * 64),), "").arrays(tmp_path)


def test_a_whole_file_that_holds_something_else_is_refused(tmp_path, grey):
    path = tmp_path / "g.npz"
    stored(path, grey | {"y_test": 9 - grey["y_test"]})
    form = strips("g.npz", sha256(path.read_bytes()).hexdigest(), "y_train", "y_test")
    with pytest.raises(CannotRead, match="the digest of its contents is") as caught:
        Archive("Grey", "home", (form,), contents(grey)).arrays(tmp_path)
    assert contents(grey) in str(caught.value)


@pytest.mark.parametrize("module", ALL)
def test_missing_data_say_what_is_missing_and_where_it_is_published(tmp_path, module):
    with pytest.raises(MissingInput, match="is not in") as caught:
        module.ARCHIVE.arrays(tmp_path)
    told = str(caught.value)
    assert module.ARCHIVE.home in told
    for form in module.ARCHIVE.forms:
        first, digest = next(iter(form.files.items()))
        assert first in told
        assert digest.value in told


def test_without_a_folder_the_error_says_how_to_name_one(monkeypatch):
    monkeypatch.delenv("EXPUNGE_DATA", raising=False)
    with pytest.raises(MissingInput, match="no data folder"):
        cifar10.ARCHIVE.arrays(None)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("EXPUNGE_DATA"), reason="needs EXPUNGE_DATA")
@pytest.mark.parametrize("module", ALL)
def test_the_data_folder_holds_what_was_published(module):
    assert contents(module.ARCHIVE.arrays(None)) == module.ARCHIVE.contents
