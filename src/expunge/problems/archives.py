"""Data sets as others publish them: found in a folder, checked, decoded once into memory maps.

A data set may come in several forms, of which all hold the same. Its *contents digest* is taken of
what is in them, so that it tells whatever form was at hand.
"""

import gzip
import lzma
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from expunge.errors import CannotRead, CannotWrite, ExpungeError, MissingInput
from expunge.problems.checksums import Checksum
from expunge.storing import digest_text, read_json, write_json, writing

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]

_DONE = "contents.json"  # written last: what lies beside it is whole


def _nothing(*_: object) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Form:
    """One way in which a data set is published."""

    files: Mapping[str, Checksum | None]  # by their places in the data folder; None: not known
    read: Callable[[Sequence[Path]], Arrays]
    inside: Callable[[Sequence[Path], Arrays], Iterable[str]] = _nothing  # faults of parts of files


@dataclass(frozen=True, slots=True)
class Archive:
    """A data set: what it is called, where it is published, and in which forms."""

    name: str
    home: str
    forms: tuple[Form, ...]
    contents: str  # digest

    def arrays(self, data: str | Path | None) -> Arrays:
        """All that it holds, by name: read and checked once, and mapped from the cache ever after.

        Raises:
            MissingInput: No form of it is there.
            CannotRead: What is there is damaged, or something else.
        """
        try:
            form, paths = self._found(data_folder(data))
            stats = [(path.resolve(), path.stat()) for path in paths]
        except OSError as why:
            raise CannotRead(
                f"{why.filename} cannot be looked at: {why.strerror}",
                hint="let this user read the data folder, or name another one.",
            ) from why
        key = digest_text(self.contents, *(f"{p} {s.st_size} {s.st_mtime_ns}" for p, s in stats))
        kept = cache_folder() / f"{self.name.lower().replace(' ', '-')}-{key[:16]}"
        return mapped(kept, lambda: self._read(form, paths))

    def _found(self, folder: Path) -> tuple[Form, list[Path]]:
        for form in self.forms:
            paths = [folder / name for name in form.files]
            if all(path.exists() for path in paths):
                return form, paths
        wanted = [_first_missing(form, folder) for form in self.forms]
        raise MissingInput(
            f"{self.name} is not in {folder}: there is no {', nor '.join(wanted)}",
            hint=f"it is published at {self.home}; docs/benchmarks.md tells its forms.",
        )

    def _read(self, form: Form, paths: Sequence[Path]) -> Arrays:
        try:
            found = form.read(paths)
        except ExpungeError:
            raise
        except Exception as why:  # readers of foreign files raise whatever they like
            told = str(why).splitlines() or [type(why).__name__]
            raise self._unreadable(paths, [told[0], *_faults(form, paths)]) from why
        digest = contents(found)
        if self.contents and digest != self.contents:
            wrong = [*_faults(form, paths), *form.inside(paths, found)]
            other = f"the digest of its contents is {digest}, and {self.contents} was expected"
            fact = "it holds something else than was published"
            raise self._unreadable(paths, [fact, *(wrong or [other])])
        return found

    def _unreadable(self, paths: Sequence[Path], told: Iterable[str]) -> CannotRead:
        place = paths[0] if len(paths) == 1 else paths[0].parent
        return CannotRead(
            f"{place} cannot be read as {self.name}: {'; '.join(told)}",
            hint=f"fetch it again: it is published at {self.home}.",
        )


def data_folder(data: str | Path | None) -> Path:
    """Where real data are: as told, else as the environment says."""
    found = data or os.environ.get("EXPUNGE_DATA")
    if found:
        return Path(found)
    raise MissingInput(
        "no data folder was named, and the package ships none but scikit-learn's digits",
        hint="pass data=..., or set EXPUNGE_DATA to the folder that holds the data sets.",
    )


def cache_folder() -> Path:
    """Where decoded data and trained models are kept between runs."""
    told = os.environ.get("EXPUNGE_CACHE") or Path.home() / ".cache" / "expunge"
    folder = Path(told)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as why:
        raise CannotWrite(
            f"{folder} cannot be made: {why.strerror}",
            hint="set EXPUNGE_CACHE to a folder that you may write to.",
        ) from why
    return folder


def mapped(folder: Path, make: Callable[[], Arrays]) -> Arrays:
    """Arrays that are made once, and mapped from a folder of the cache ever after.

    What was not written to its end, or was cut since, is made again.
    """
    found = _kept(folder)
    if found is None:
        made = make()
        for name, values in made.items():
            with writing(folder / f"{name}.npy") as file:
                np.save(file, values, allow_pickle=False)
        sizes = {name: (folder / f"{name}.npy").stat().st_size for name in made}
        write_json(folder / _DONE, "decoded", {"bytes": sizes})
        found = _kept(folder)
    if found is None:
        raise CannotRead(f"{folder} changes while it is read", hint="delete it, and begin again.")
    return found


def _kept(folder: Path) -> Arrays | None:
    """What lies there, if all of it does."""
    try:
        sizes = read_json(folder / _DONE, "decoded")["bytes"]
        paths = {name: folder / f"{name}.npy" for name in sizes}
        if any(path.stat().st_size != sizes[name] for name, path in paths.items()):
            return None
        return {name: np.load(path, mmap_mode="c") for name, path in paths.items()}
    except (CannotRead, OSError, LookupError):
        return None


def contents(arrays: Arrays) -> str:
    """The digest of names, types, shapes and values."""
    found = sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        found.update(f"{name}:{values.dtype.str}:{values.shape}:".encode())
        found.update(values.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def packed(path: str, digest: str) -> Form:
    """One file of text that was compressed by xz; its bytes are an array of this name."""
    return Form({path: Checksum(digest)}, _unpacked)


def _unpacked(paths: Sequence[Path]) -> Arrays:
    (path,) = paths
    return {"bytes": np.frombuffer(lzma.decompress(path.read_bytes()), np.uint8)}


def members(path: Path, wanted: re.Pattern[str]) -> dict[str, bytes]:
    """The files of a tar archive whose names a pattern matches, by its first group."""
    try:
        with tarfile.open(path) as tar:
            return {
                found[1]: file.read()
                for member in tar
                if (found := wanted.fullmatch(member.name)) and (file := tar.extractfile(member))
            }
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as why:
        raise ValueError("it is cut, or no tar archive") from why


def _first_missing(form: Form, folder: Path) -> str:
    missing = [name for name in form.files if not (folder / name).exists()]
    digest = form.files[missing[0]]
    more = f" and {len(missing) - 1} more beside it" if len(missing) > 1 else ""
    return missing[0] + (f" ({digest})" if digest else "") + more


def _faults(form: Form, paths: Sequence[Path]) -> list[str]:
    """Files whose checksums are not those that were published."""
    wanted = zip(paths, form.files.values(), strict=True)
    return [told for path, each in wanted if each and (told := each.fault(str(path), path))]
