"""Hold a method to a time: it is run with as much effort as fits.

The effort is a setting of which there can be less: epochs, or steps. What takes too long is run
again with less of it. Where that may take long, a little comes first, then as much as fits by a
rule of three, then by the line of the last two runs. Nobody waits for a run that takes several
times as long as it may, if there is less that it could do.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from meter import Taken, TooLong, hurried

from expunge import Outcome
from expunge.method import Method

_TRIES = 4  # to find settings that fit
_LITTLE = 0.05  # of the effort comes first, where retraining takes long
_NEARLY = 0.95  # of the time that is left is taken: clocks differ
_PATIENCE = 4  # times as long as it may take
_SOON = 60.0  # seconds that anybody waits
_FITS = 0.85  # of what would fit by a rule of three: something is always spent at the start


class Tried(NamedTuple):
    """A method as it was run, what it made, and what that took."""

    method: Method
    outcome: Outcome
    taken: Taken


Run = Callable[[Method], tuple[Outcome, Taken]]


@dataclass(frozen=True)
class Hold:
    """How a method is run, what there can be less of, and what it may take."""

    run: Run
    effort: str  # a setting of the method; empty: there is none
    limit: float  # seconds

    def held(self, method: Method) -> Tried:
        """Run it with as much effort as fits: less until it does, or until less is no less work."""
        little = self._little(method)
        tried = self._first(little)
        if tried.method is little:  # what took too long is not tried with more
            tried = self._raised(method, tried)
        for _ in range(_TRIES - 1):
            less = self._less(tried.method, tried.taken.seconds)
            if less is None:
                break
            lighter = self._tried(less)
            if lighter.taken.flops >= tried.taken.flops:
                break
            tried = lighter
        return tried

    def _tried(self, method: Method) -> Tried:
        return Tried(method, *self.run(method))

    def _first(self, method: Method) -> Tried:
        """Run it; where that takes too long and it could do less, run it with less."""
        while (less := self._less(method, self._enough)) is not None:
            tried = self._awaited(method)
            if tried is not None:
                return tried
            method = less
        return self._tried(method)

    def _raised(self, most: Method, first: Tried) -> Tried:
        """Run it with more for as long as that fits."""
        each = [first]
        while len(each) < _TRIES and (more := self._more(each, most)) is not None:
            tried = self._awaited(more)
            if tried is None or tried.taken.seconds > self.limit:
                break
            each.append(tried)
        return each[-1]

    def _awaited(self, method: Method) -> Tried | None:
        """Run it for as long as anybody waits; None: it takes longer."""
        with suppress(TooLong), hurried(self._enough):
            return self._tried(method)
        return None

    @property
    def _enough(self) -> float:
        """Seconds that anybody waits for it."""
        return max(_PATIENCE * self.limit, _SOON)

    def _little(self, method: Method) -> Method:
        """The same with little effort, if all of it may take long."""
        if not self.effort or self.limit < _SOON:
            return method
        return self._with(method, _LITTLE * self._size(method))

    def _more(self, each: Sequence[Tried], most: Method) -> Method | None:
        """The same with as much more as fits, by a rule of three, or by the line of two runs."""
        if not self.effort:
            return None
        sizes = [self._size(tried.method) for tried in each]
        times = [tried.taken.seconds for tried in each]
        now, full, limit = sizes[-1], self._size(most), _NEARLY * self.limit
        if now >= full:
            return None
        if len(each) < 2:
            fits = now * limit / times[-1]
        else:
            slope = (times[-1] - times[-2]) / (now - sizes[-2])
            fits = now + (limit - times[-1]) / slope if slope > 0 else full
        more = self._with(most, min(full, fits))
        return more if self._size(more) > now else None

    def _less(self, method: Method, seconds: float) -> Method | None:
        """The same with as much effort as fits; None: it fits, or less is not possible."""
        share = self.limit / seconds
        if share >= 1 or not self.effort:
            return None
        now = self._size(method)
        less = self._with(method, now * share * _FITS)
        return less if self._size(less) < now else None

    def _with(self, method: Method, size: float) -> Method:
        """The same with another effort; where that is counted, with one at least."""
        whole = not isinstance(self._size(method), float)
        return replace(method, **{self.effort: max(1, int(size)) if whole else size})

    def _size(self, method: Method) -> float:
        found: float = getattr(method, self.effort)
        return found
