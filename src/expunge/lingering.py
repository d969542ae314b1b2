"""Whether an attribute lingers in a model: the rules of the verdict where nobody left.

No model was retrained without an attribute, so nothing is compared. Of what can be read, nothing
should be left above a floor that was declared with the measurement. The whole interval must lie
above the floor to say that something is left, and below it to say that nothing is. For the latter
the same measurement of the original must be more than a little for sure; for either, an attribute
that was handed out anew, in which there is nothing to be read, must not be found.

A layer that hides an attribute behind layers that say what they said erases nothing. The re-attack
reads there too, so that what comes back decides; the reasons say how much of the way is as it was.
"""

from dataclasses import dataclass

from expunge.algebra.statistics import Interval
from expunge.evidence import Evidence
from expunge.metric import Measurement
from expunge.vetting import SEEN, UNLIKE

LEAKS, RETURNS = "conditional leakage (bits)", "re-attack above an untrained model (bits)"
"""What decides about an attribute, each followed by its name."""

TOLD = 0.05
"""Bits that the original must tell for sure, or passing would mean nothing."""

_STAYS = "layers that say what they said (share)"
_CHANCE = "reference line: a permuted attribute (bits)"
_LIMITS = {
    LEAKS: "probes of other families, or at other layers, may see more",
    RETURNS: "with more labels and steps more may come back",
}
_IN_VAIN = {
    LEAKS: "passing would mean little",
    RETURNS: "the re-attack could not have told: a network that was never trained learns it about "
    "as soon, from inputs that show it to anybody who holds labels",
}


@dataclass(frozen=True, slots=True)
class Remainder:
    """One deciding measurement about an attribute; a word that does not apply is empty."""

    measured: Measurement
    chance: Measurement  # the same of an attribute that was handed out anew
    limit: str  # what passing cannot show
    in_vain: str  # what follows where the original passes too
    hidden: str  # what of the way to the features is as it was
    unfair: str  # the samples are not what they should be

    @classmethod
    def of(cls, evidence: Evidence, what: str, name: str) -> "Remainder":
        """What of an attribute of this name is left."""
        measured, chance = (evidence.measurement(f"{each}, {name}") for each in (what, _CHANCE))
        stays = evidence.measurement(f"{_STAYS}, {name}")
        hidden = _hidden(stays) if what == RETURNS else ""
        unfair = _unfair(*(evidence.measurement(each) for each in (SEEN, UNLIKE)))
        return cls(measured, chance, _LIMITS[what], _IN_VAIN[what], hidden, unfair)

    @property
    def found(self) -> str:
        """Something is left."""
        if self.silence or self.false_alarm or self._low <= self._floor:
            return ""
        return (
            f"{self._said}, wholly above the floor of {self._floor:g} bits: not all of it left"
            f"{self.hidden and f'; {self.hidden}: it is hidden there, and not erased'}"
        )

    @property
    def silence(self) -> str:
        """Nobody knows."""
        m = self.measured
        if m.value is None:
            return f"{m.name}: {m.note}"
        if m.interval is None or m.floor is None:
            return f"{m.name} is {m.value:.3f}, but has no interval or declares no floor"
        if self.chance.interval is None:
            return (
                f"{m.name} has no line of chance beside it: {self.chance.name}, {self.chance.note}"
            )
        return ""

    @property
    def false_alarm(self) -> str:
        """What was handed out anew is found too: the audit is not fair."""
        m = self.chance
        if m.interval is None or m.interval[0] <= self._floor:
            return ""
        return (
            f"{self.measured.name} cannot be relied on here: even an attribute that was handed "
            f"out anew is found ({_span(m.interval)})"
        )

    @property
    def no_power(self) -> str:
        """The original passes as well, or nearly."""
        then = self.measured.original
        if then is None:
            return f"{self.measured.name} of the original is not known, so its power is not known"
        if then.low > TOLD:
            return ""
        return (
            f"{self.measured.name} cannot be relied on here: even of the original it is not "
            f"clearly more than {TOLD:g} ({_of(then)}), so that {self.in_vain}"
            f"{self.hidden and f'; {self.hidden}: it may be hidden there, and not erased'}"
        )

    @property
    def known(self) -> str:
        """How far it fell, which is worth knowing where that is not enough for an answer."""
        then, m = self.measured.original, self.measured
        if m.value is None or then is None or then.low <= TOLD:
            return ""
        return f"what is known: {m.name} went from {then.value:.3f} to {m.value:.3f}"

    @property
    def too_wide(self) -> str:
        """Something may be left."""
        if self._high <= self._floor:
            return ""
        return (
            f"{self._said}, not wholly below the floor of {self._floor:g} bits: "
            f"{self.measured.n} samples are too few to show that nothing is left"
        )

    @property
    def gone(self) -> str:
        """Nothing is left."""
        return (
            f"{self._said}, wholly below the floor of {self._floor:g} bits, and the original was "
            f"caught; {self.limit}{self.hidden and f'; {self.hidden}'}"
        )

    @property
    def _said(self) -> str:
        m = self.measured
        return f"{m.name} is {m.value or 0.0:.3f} ({_span((self._low, self._high))})"

    @property
    def _floor(self) -> float:
        return self.measured.floor or 0.0

    @property
    def _low(self) -> float:
        return (self.measured.interval or (0.0, 0.0))[0]

    @property
    def _high(self) -> float:
        return (self.measured.interval or (0.0, 0.0))[1]


def _unfair(seen: Measurement, unlike: Measurement) -> str:
    """What makes an audit unfair, whatever is asked of the samples."""
    low, high = unlike.interval or (0.0, 0.0)
    apart = unlike.floor or 0.0
    if (seen.value or 0.0) > (seen.floor or 0.0):
        return (
            f"{seen.value:.0%} of the held-out samples are training samples too, so that nobody "
            f"can say what the model makes of others"
        )
    if unlike.value is not None and (low > apart or high < -apart):
        return (
            f"validation samples, from which probes learn, are unlike test samples: in accuracy "
            f"{unlike.note}, so that what probes do not find may be there"
        )
    return ""


def _hidden(stays: Measurement) -> str:
    if not stays.value:
        return ""
    return (
        f"{round(stays.value * stays.n)} of {stays.n} layers before the features say what the "
        f"original's say"
    )


def _of(found: Interval) -> str:
    return _span((found.low, found.high))


def _span(ends: tuple[float, float]) -> str:
    return f"95 % interval {ends[0]:+.3f} to {ends[1]:+.3f}"
