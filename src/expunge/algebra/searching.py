"""Where something that holds ends to hold, by halving."""

from collections.abc import Callable


def edge(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """The last number from ``inside`` towards ``outside`` for which something is seen to hold."""
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return inside
