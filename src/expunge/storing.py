"""Files: atomic writes, versioned safetensors and JSON, digests. Never a pickle of ours."""

import json
import os
import pickle
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from expunge.errors import CannotRead, CannotWrite

FORMAT = 1
"""Version of every file format below; a reader refuses what is newer."""

_CHUNK = 1 << 24
_BROKEN = (  # all that torch.load raises on a file that is none of its own
    pickle.UnpicklingError,
    struct.error,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@contextmanager
def writing(path: str | Path) -> Iterator[IO[bytes]]:
    """Write beside ``path``, then rename: a reader sees the old file or the new one, never half."""
    path = Path(path)
    beside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=".partial", delete=False
        ) as file:
            beside = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(0o666 & ~_umask())
        beside.replace(path)
    except OSError as why:
        raise CannotWrite(
            f"{path} could not be written: {why.strerror or why}",
            hint="free some space, or name a folder that you may write to.",
        ) from why
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as a whole or not at all."""
    with writing(path) as file:
        file.write(text.encode())


def write_json(path: str | Path, kind: str, body: Mapping[str, Any]) -> None:
    """Write a versioned JSON document of this ``kind``."""
    document = {"expunge": kind, "version": FORMAT, **body}
    write_text(path, json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: str | Path, kind: str) -> dict[str, Any]:
    """Read a document that `write_json` wrote, and refuse every other."""
    try:
        body = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as why:
        raise CannotRead(f"{path} does not exist", hint="check the path.") from why
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as why:
        raise CannotRead(f"{path} is not readable as JSON: {why}") from why
    if not isinstance(body, dict) or body.get("expunge") != kind:
        raise CannotRead(f"{path} is not a file of expunge of the kind {kind!r}")
    check_version(path, body.get("version"))
    return body


def check_version(path: str | Path, version: object) -> None:
    """Refuse a file that a newer expunge wrote."""
    if str(version) != str(FORMAT):
        raise CannotRead(
            f"{path} has format version {version}, this expunge reads version {FORMAT}",
            hint="use the version of expunge that wrote it, or write it again.",
        )


def save_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], meta: Mapping[str, str] | None = None
) -> None:
    """Write tensors as versioned safetensors; tied tensors are written once per name.

    The same tensors and notes make the same bytes.
    """
    odd = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if odd:
        raise CannotWrite(
            f"{path}: {odd[0]!r} of the state is a {type(tensors[odd[0]]).__name__}, not a tensor",
            hint="let get_extra_state return a tensor, or leave it out of the state dict.",
        )
    owned = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    raw = save(owned, metadata={"expunge": str(FORMAT), **(meta or {})})
    size = 8 + int.from_bytes(raw[:8], "little")
    with writing(path) as file:
        file.write(_in_order(raw[8:size]))
        file.write(memoryview(raw)[size:])


def _in_order(header: bytes) -> bytes:
    """The head of a safetensors file, its notes sorted: the library shuffles them."""
    told = json.loads(header)
    told["__metadata__"] = dict(sorted(told["__metadata__"].items()))
    text = json.dumps(told, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def load_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and their notes: safetensors of anybody, or a ``.pt`` file of weights only."""
    if not Path(path).is_file():
        raise CannotRead(f"{path} does not exist", hint="check the path.")
    if Path(path).suffix != ".safetensors":
        return _load_checkpoint(path), {}
    try:
        with safe_open(path, framework="pt") as file:
            meta = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as why:
        raise CannotRead(f"{path} is not readable as safetensors: {why}") from why
    if "expunge" in meta:
        check_version(path, meta["expunge"])
    return tensors, meta


def _load_checkpoint(path: str | Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except _BROKEN as why:
        raise CannotRead(
            f"{path} is not a checkpoint of weights only; opening more could run foreign code",
            hint="where it was made, save model.state_dict() with safetensors, and use that file.",
        ) from why
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise CannotRead(
            f"{path} holds no state dict of tensors",
            hint="save model.state_dict(), not the model or the optimizer.",
        )
    return dict(found)


def digest_text(*parts: str) -> str:
    """SHA-256 over texts, each with its length, so that no two lists of texts run together."""
    found = sha256()
    for part in parts:
        found.update(f"{len(part.encode())}:".encode())
        found.update(part.encode())
    return found.hexdigest()


def digest_json(body: Any) -> str:
    """Digest of a JSON value, whatever the order of its keys."""
    return digest_text(json.dumps(body, sort_keys=True, separators=(",", ":")))


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Digest over names, types, shapes and bytes of tensors."""
    found = sha256()
    for name in sorted(name for name, value in tensors.items() if isinstance(value, Tensor)):
        value = tensors[name].detach().cpu().contiguous()
        found.update(f"{name}:{value.dtype}:{tuple(value.shape)}:".encode())
        data = value.reshape(-1).view(torch.uint8).numpy()
        for start in range(0, data.size, _CHUNK):
            found.update(data[start : start + _CHUNK].data)
    return found.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def forget_file(path: str | Path) -> bool:
    """Remove a file if it is there; say whether it was."""
    try:
        Path(path).unlink()
    except FileNotFoundError:
        return False
    except OSError as why:
        raise CannotWrite(
            f"{path} could not be removed: {why.strerror or why}",
            hint="allow writing to its folder, then do it again.",
        ) from why
    return True
