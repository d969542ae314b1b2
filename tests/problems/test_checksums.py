"""Checksums of published files: what is wrong where the contents are, and nothing for itself."""

import gzip
import os
import pickle
import tarfile
from hashlib import md5, sha256

import pytest

from expunge.errors import CannotRead, MissingInput
from expunge.problems import checksums, fashion, mnist
from expunge.problems.archives import Archive, contents
from expunge.problems.pictures import cifar_forms, idx_forms

BATCHES = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
IDX = [
    f"{part}-{rest}-ubyte" for part in ("train", "t10k") for rest in ("images-idx3", "labels-idx1")
]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPUNGE_CACHE", str(tmp_path / "cache"))


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)


def words(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\n")


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture(params=["", ".gz"])
def digits(idx, request, tmp_path, grey, monkeypatch):
    """Four IDX files whose checksums are known, and how they are read."""
    paths = [tmp_path / "grey" / f"{name}{request.param}" for name in IDX]
    values = [grey["x_train"][:, 0], grey["y_train"], grey["x_test"][:, 0], grey["y_test"]]
    for path, name, rows in zip(paths, IDX, values, strict=True):
        idx(path, rows)
        raw = gzip.decompress(path.read_bytes()) if request.param else path.read_bytes()
        monkeypatch.setitem(checksums.UNPACKED, f"grey/{name}", sha256(raw).hexdigest())
    archive = Archive("Grey", "https://home", (*idx_forms("grey"),), contents(grey))
    return archive, paths, values


def refused(archive, folder):
    with pytest.raises(CannotRead) as caught:
        archive.arrays(folder)
    return str(caught.value)


@pytest.mark.parametrize("which", range(4))
def test_one_idx_file_of_other_contents_is_named_with_the_checksum_of_its_bytes(
    idx, tmp_path, digits, which
):
    archive, paths, values = digits
    other = values[which].copy()
    other.flat[0] ^= 1
    idx(paths[which], other)
    told = refused(archive, tmp_path)
    assert [path for path in paths if f"{path}, unpacked, is" in told or f"{path} is" in told] == [
        paths[which]
    ]
    assert f"{checksums.UNPACKED[f'grey/{IDX[which]}']} was expected" in told
    assert "https://home" in told


def test_an_idx_file_that_is_missing_is_named_with_its_checksum(tmp_path, digits):
    archive, paths, _ = digits
    paths[2].unlink()
    with pytest.raises(MissingInput) as caught:
        archive.arrays(tmp_path)
    name = paths[2].relative_to(tmp_path)
    packed = " when unpacked" if paths[2].suffix else ""
    wanted = checksums.UNPACKED[f"grey/{IDX[2]}"]
    assert f"{name} (SHA-256{packed} {wanted})" in str(caught.value)


def test_an_idx_file_that_was_packed_anew_is_read(both, tmp_path, digits, grey):
    archive, paths, _ = digits
    if paths[0].suffix == ".gz":
        paths[0].write_bytes(gzip.compress(gzip.decompress(paths[0].read_bytes()), 1))
    assert both(archive.arrays(tmp_path), grey)


@pytest.mark.parametrize("length", [0, 2, 5, 8, 30])
def test_a_short_idx_file_is_named(tmp_path, digits, length):
    archive, paths, _ = digits
    packed = paths[3].suffix == ".gz"
    raw = gzip.decompress(paths[3].read_bytes()) if packed else paths[3].read_bytes()
    cut = raw[:length] if length < len(raw) else raw + bytes(length)
    paths[3].write_bytes(gzip.compress(cut) if packed else cut)
    told = refused(archive, tmp_path)
    assert f"{paths[3]} " in told
    assert "holds" in told
    assert f"{checksums.UNPACKED[f'grey/{IDX[3]}']} was expected" in told


def test_pictures_in_place_of_labels_are_named(idx, tmp_path, digits):
    archive, paths, values = digits
    idx(paths[1], values[0])
    assert f"{paths[1]} does not begin as an IDX file of bytes in 1D" in refused(archive, tmp_path)


@pytest.fixture
def photographs(batches, tmp_path, coloured, monkeypatch):
    """Six batches whose checksums are known, and how they are read."""
    folder = tmp_path / "c" / "cifar-10-batches-py"
    batches(folder, coloured)
    for name in BATCHES:
        wanted = md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setitem(checksums.TOLD, f"c/cifar-10-batches-py/{name}", wanted)
    monkeypatch.setitem(checksums.TOLD, "c/cifar-10-python.tar.gz", "e" * 32)
    return lambda: Archive(
        "CIFAR", "https://home", (*cifar_forms("c"),), contents(coloured)
    ), folder


def pack(folder):
    """In place of the folder, an archive of what is in it."""
    path = folder.with_name("cifar-10-python.tar.gz")
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, folder.name)
    folder.rename(folder.with_name("elsewhere"))
    return path


@pytest.mark.parametrize("packed_", [False, True])
def test_one_batch_of_other_contents_is_named_with_its_checksum(tmp_path, photographs, packed_):
    archive, folder = photographs
    (folder / "data_batch_4").write_bytes((folder / "data_batch_1").read_bytes())
    path = pack(folder) if packed_ else folder
    told = refused(archive(), tmp_path)
    place = {name: f"{name} in {path}" if packed_ else f"{path / name}" for name in BATCHES}
    assert [name for name in BATCHES if f"the MD5 of {place[name]} is" in told] == ["data_batch_4"]
    wanted = checksums.TOLD["c/cifar-10-batches-py/data_batch_4"]
    assert f"{wanted} was expected" in told
    assert (f"{'e' * 32} was expected" in told) == packed_


def test_an_archive_of_another_checksum_is_read_if_it_holds_the_same(
    both, tmp_path, photographs, coloured
):
    archive, folder = photographs
    pack(folder)
    assert both(archive().arrays(tmp_path), coloured)


def test_batches_that_an_archive_lacks_are_named(tmp_path, photographs):
    archive, folder = photographs
    for name in ("data_batch_2", "test_batch"):
        (folder / name).unlink()
    path = pack(folder)
    told = refused(archive(), tmp_path)
    assert f"{path} cannot be read" in told
    assert "there is no data_batch_2 and no test_batch in it" in told


@pytest.mark.parametrize("harm", [halve, flip, words])
def test_a_damaged_archive_is_named_with_its_checksum(tmp_path, photographs, harm):
    archive, folder = photographs
    path = pack(folder)
    harm(path)
    told = refused(archive(), tmp_path)
    assert f"{path} cannot be read" in told
    assert f"{'e' * 32} was expected" in told


@pytest.mark.parametrize("packed_", [False, True])
@pytest.mark.parametrize("raw", [b"", b"no", pickle.dumps([1]), pickle.dumps({b"data": []})])
def test_a_batch_that_is_none_is_named_wherever_it_lies(tmp_path, photographs, packed_, raw):
    archive, folder = photographs
    (folder / "data_batch_2").write_bytes(raw)
    place = f"data_batch_2 in {pack(folder)}" if packed_ else f"{folder / 'data_batch_2'}"
    assert f"{place} is no batch of CIFAR: " in refused(archive(), tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("EXPUNGE_DATA"), reason="needs EXPUNGE_DATA")
@pytest.mark.parametrize(("module", "folder"), [(mnist, "mnist"), (fashion, "fashion_mnist")])
def test_known_checksums_are_those_of_idx_files_of_these_pictures(idx, tmp_path, module, folder):
    found = module.ARCHIVE.arrays(None)
    values = [found["x_train"][:, 0], found["y_train"], found["x_test"][:, 0], found["y_test"]]
    for name, rows in zip(IDX, values, strict=True):
        idx(tmp_path / name, rows)
        raw = (tmp_path / name).read_bytes()
        assert sha256(raw).hexdigest() == checksums.UNPACKED[f"{folder}/{name}"]
