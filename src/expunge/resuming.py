"""Where a long run stands, kept on disk now and then: killed at any moment, it goes on."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from expunge.errors import BadSetting, CannotWrite
from expunge.storing import forget_file, load_tensors, save_tensors

_PAUSE = 20.0  # seconds between two writings: a stream of small steps must not wait for the disk


@dataclass(slots=True, eq=False)
class Trail:
    """A file that holds a model, a random generator and whatever else a run needs to go on."""

    path: Path | None  # None: nothing is kept
    run: str  # what makes this run; a file of another is not read
    written: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.path is not None and self.path.suffix != ".safetensors":
            raise BadSetting(
                f"a run could not be read again from {self.path}",
                hint="let the name of the checkpoint end in .safetensors.",
            )

    def found(self, model: nn.Module) -> Mapping[str, Any] | None:
        """Put the model where the run stood, and return what else was kept."""
        if self.path is None or not self.path.exists():
            return None
        tensors, meta = load_tensors(self.path)
        if "run" not in meta:
            raise CannotWrite(
                f"{self.path} is not where a run was interrupted, and is left alone",
                hint="give the checkpoint a name of its own.",
            )
        if meta["run"] != self.run:
            return None
        torch.set_rng_state(tensors.pop("rng"))
        for device in range(torch.cuda.device_count()):
            torch.cuda.set_rng_state(tensors.pop(f"rng.{device}"), device)
        model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items()})
        state: Mapping[str, Any] = json.loads(meta["state"])
        return state

    def keep(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        """Write where the run stands, unless that was done a moment ago."""
        if self.path is None or time.monotonic() - self.written < _PAUSE:
            return
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        tensors["rng"] = torch.get_rng_state()
        for device in range(torch.cuda.device_count()):
            tensors[f"rng.{device}"] = torch.cuda.get_rng_state(device)
        save_tensors(self.path, tensors, {"run": self.run, "state": json.dumps(dict(state))})
        self.written = time.monotonic()

    def end(self) -> None:
        """Leave nothing behind: a trail holds a model that still knows what was to go."""
        if self.path is not None:
            forget_file(self.path)
