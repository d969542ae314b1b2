"""Take people, records, classes and attributes back out of trained models, with evidence.

Names are loaded when they are first used, so that ``expunge --help`` never imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expunge.auditing import Evidence, audit
    from expunge.errors import ExpungeError
    from expunge.fitting import Fit
    from expunge.judging import Verdict, judge
    from expunge.ledger import Ledger
    from expunge.outcome import Outcome
    from expunge.recipe import Recipe
    from expunge.recording import record
    from expunge.rehearsing import rehearse
    from expunge.reporting import Page, render
    from expunge.request import Attribute, Classes, Request, Samples
    from expunge.retraining import retrain
    from expunge.shadowing import shadow
    from expunge.splitting import Split, split
    from expunge.tasks import Classification, MultiLabel, Regression, Task
    from expunge.unlearning import unlearn

_HOMES = {
    "Attribute": "request",
    "Classes": "request",
    "Classification": "tasks",
    "Evidence": "auditing",
    "ExpungeError": "errors",
    "Fit": "fitting",
    "Ledger": "ledger",
    "MultiLabel": "tasks",
    "Outcome": "outcome",
    "Page": "reporting",
    "Recipe": "recipe",
    "Regression": "tasks",
    "Request": "request",
    "Samples": "request",
    "Split": "splitting",
    "Task": "tasks",
    "Verdict": "judging",
    "audit": "auditing",
    "judge": "judging",
    "record": "recording",
    "rehearse": "rehearsing",
    "render": "reporting",
    "retrain": "retraining",
    "shadow": "shadowing",
    "split": "splitting",
    "unlearn": "unlearning",
}

__all__ = [
    "Attribute",
    "Classes",
    "Classification",
    "Evidence",
    "ExpungeError",
    "Fit",
    "Ledger",
    "MultiLabel",
    "Outcome",
    "Page",
    "Recipe",
    "Regression",
    "Request",
    "Samples",
    "Split",
    "Task",
    "Verdict",
    "audit",
    "judge",
    "record",
    "rehearse",
    "render",
    "retrain",
    "shadow",
    "split",
    "unlearn",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'expunge' has no attribute {name!r}")
    return getattr(import_module(f"expunge.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
