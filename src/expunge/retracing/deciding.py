"""How recorded steps are best gone over again, and how many of them, if that can be known."""

from typing import Literal

from expunge.algebra import bounds
from expunge.history import History
from expunge.retracing.path import rates

_MUCH = 0.3  # share of the data from which on steps are taken again, if nothing is certain


def chosen(
    history: History, *, share: float, convex: bool, certain: bool
) -> tuple[Literal["replay", "linear"], str]:
    """Whether to take the steps again or to follow them, and why.

    ``share`` of the samples leave; ``certain`` says that a certificate will tell what is left.
    """
    against = {
        "the steps are those of AdamW": history.optimizer == "adamw",
        "the history keeps no gradients": history.steps[-1].gradient() is None,
        "some parameters learned in some steps only": not history.steady,
        "the model is not convex in its parameters": not convex,
        f"{share:.0%} of the samples leave": share >= _MUCH and not certain,
    }
    why = next((text for text, holds in against.items() if holds), "")
    if why:
        return "replay", why
    return "linear", "the model is convex" + ", and what is left can be certified" * certain


def needed(history: History, *, curvature: float, share: float) -> int | None:
    """The last steps that leave at most this share of a difference; None if all leave more.

    ``curvature`` is the least in any direction.
    """
    return bounds.window(rates(history, curvature), share)
