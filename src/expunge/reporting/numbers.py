"""Numbers as a careful person writes them: few digits, a real minus sign, brackets."""

import re
from collections.abc import Sequence
from math import floor, isfinite, log10

MINUS = "−"  # noqa: RUF001 - the point of it
_NOISE = 1e-12  # sums of rates miss zero by about as much
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, decimals: int | None = None, *, signed: bool = False) -> str:
    """A number with sensible digits: ``0.512``, ``1,240``, and powers of ten."""
    if not isfinite(value):
        return _unbounded(value)
    value = 0.0 if abs(value) < _NOISE else value
    if decimals is None and value and abs(value) < 1e-4:
        return ("+" if signed and value > 0 else "") + _power(value)
    digits = _decimals(value) if decimals is None else decimals
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    if not float(text.replace(",", "")):
        text = text.lstrip("+-")  # nobody is helped by minus zero
    return text.replace("-", MINUS)


def parted(
    value: float, low: float | None = None, high: float | None = None, *, signed: bool = False
) -> tuple[str, str]:
    """A number, and its interval in brackets; nothing for the interval where there is none."""
    if low is None or high is None:
        return number(value, signed=signed), ""
    digits = _resolving(low, high)
    ends = f"[{number(low, digits, signed=signed)}, {number(high, digits, signed=signed)}]"
    return number(value, _beside(digits), signed=signed), ends


def with_interval(
    value: float, low: float | None = None, high: float | None = None, *, signed: bool = False
) -> str:
    """A number and its interval: ``0.512 [0.43, 0.59]``."""
    return " ".join(parted(value, low, high, signed=signed)).strip()


def mean_and_range(values: Sequence[float]) -> tuple[str, str]:
    """Mean of several numbers, and where they lie: ``0.498`` and ``0.49 to 0.52``."""
    mean, low, high = sum(values) / len(values), min(values), max(values)
    if low == high:
        return number(mean), "all alike" if len(values) > 1 else "one model"
    digits = _resolving(low, high)
    span = f"{number(low, digits)} to {number(high, digits)}"
    return number(mean, _beside(digits)), span


def duration(seconds: float) -> str:
    """A time span in the unit that a person would choose."""
    if seconds < 1:
        return f"{number(seconds * 1000, 1 if seconds < 0.01 else 0)} ms"
    if seconds < 120:
        return f"{number(seconds, 1)} s"
    return f"{number(seconds / 60, 1)} min" if seconds < 7200 else f"{number(seconds / 3600, 1)} h"


def typeset(text: str) -> str:
    """Text with real minus signs, powers and apostrophes, and no line break before a percent."""
    powers = re.sub(r"\d(\.\d+)?e-\d+", lambda found: _power(float(found[0])), text)
    powers = re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", powers)
    return re.sub(r"(?<=\w)'", "’", re.sub(r"(?<!\w)-(?=\d)", MINUS, powers))  # noqa: RUF001


def _unbounded(value: float) -> str:
    if value != value:  # noqa: PLR0124 - not a number is unequal to itself
        return "not a number"
    return "∞" if value > 0 else f"{MINUS}∞"


def _power(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}".replace("-", MINUS)  # noqa: RUF001


def _decimals(value: float) -> int:
    """Three after the point for a rate, three in all for what is smaller or larger."""
    if abs(value) < _NOISE or 0.1 <= abs(value) < 10:
        return 3
    return min(6, max(0, 2 - floor(log10(abs(value)))))


def _resolving(low: float, high: float) -> int:
    """Decimals that tell the two ends apart, by two digits of their distance."""
    width, size = high - low, max(abs(low), abs(high))
    if not isfinite(width) or width <= 0:
        return 3
    return min(3 if size >= 0.1 else 5, max(0, 1 - floor(log10(width))))


def _beside(digits: int) -> int:
    """Decimals of a number whose interval has ``digits``: one more, where they are few."""
    return digits + 1 if digits != 3 else digits
