"""What is asked of retrained models for every row, kept on disk for other processes and days.

To teach five residual networks again what they never saw takes a processor a quarter of an hour.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.ensembles import References
from expunge.remembering import Notebook, Subject
from expunge.storing import digest_text, load_tensors, save_tensors


@dataclass(frozen=True, slots=True, eq=False)
class Kept(Notebook):
    """A notebook in a folder of these very models; an answer is a list of named tensors."""

    folder: Path = Path()

    @classmethod
    def of(cls, references: References, cache: Path) -> "Kept":
        """The one of these models, by their weights; those tell what data they saw."""
        weights = digest_text(*(member.digest for member in references.members))
        return cls(folder=cache / "noted" / weights[:20])

    def once(self, kind: str, about: Subject, find: Callable[[], Any]) -> Any:
        """The answer of this process, or that of another, or a new one."""

        def kept() -> Any:
            asked = digest_text(kind, *(each for each in about if isinstance(each, str)))
            path = self.folder / f"{asked[:20]}.safetensors"
            if not path.exists():
                save_tensors(path, _flat(find()))
            return _listed(load_tensors(path)[0])

        return Notebook.once(self, kind, about, kept)


def _flat(answers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        f"{at}.{name}": value for at, each in enumerate(answers) for name, value in each.items()
    }


def _listed(tensors: dict[str, Any]) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        at, _, name = key.partition(".")
        found.setdefault(int(at), {})[name] = value
    return [found[at] for at in sorted(found)]
