"""Say what was done, how much is left, and about how long that will take."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Left:
    """What is left for all processes that work on the same."""

    count: Callable[[], int]  # of what nobody has done yet
    workers: int
    done: int = 0  # by this process
    started: float = field(default_factory=time.perf_counter)

    def tell(self, what: str) -> None:
        """One more was done."""
        self.done += 1
        left = self.count()
        each = (time.perf_counter() - self.started) / self.done
        minutes = left * each / self.workers / 60
        print(f"{what}; {left} left, about {minutes:.0f} min", flush=True)
