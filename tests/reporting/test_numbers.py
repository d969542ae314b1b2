# ruff: noqa: RUF001 - real minus signs are what is tested
import math

import pytest

from expunge.reporting.numbers import (
    duration,
    mean_and_range,
    number,
    parted,
    typeset,
    with_interval,
)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0.000"), (-0.0, "0.000"), (0.5123, "0.512"), (-0.25, "−0.250"), (1.0, "1.000"),
        (8.5, "8.500"), (12.34, "12.3"), (1240.4, "1,240"), (0.00792, "0.00792"),
        (4.2e-7, "4.2 × 10⁻⁷"), (-4.2e-7, "−4.2 × 10⁻⁷"), (1e-17, "0.000"),
        (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "not a number"),
    ],
)  # fmt: skip
def test_a_number_has_sensible_digits_and_a_real_minus(value, said):
    assert number(value) == said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((0.512, 0.43, 0.59), "0.512 [0.43, 0.59]"),
        ((1.0, 0.9949, 1.0), "1.000 [0.995, 1.000]"),
        ((0.0, -0.046, 0.046), "0.000 [−0.046, 0.046]"),
        ((8.14, 7.53, 8.75), "8.14 [7.5, 8.8]"),
        ((0.00792, 0.00332, 0.01252), "0.00792 [0.0033, 0.0125]"),
        ((0.5, 0.5, 0.5), "0.500 [0.500, 0.500]"),
    ],
)
def test_an_interval_has_two_digits_of_its_width(found, said):
    assert with_interval(*found) == said


def test_a_number_without_interval_stands_alone():
    assert with_interval(0.5) == "0.500"
    assert parted(0.5) == ("0.500", "")


def test_a_difference_shows_its_sign():
    assert with_interval(0.02, 0.01, 0.03, signed=True) == "+0.020 [+0.010, +0.030]"
    assert number(0.0, signed=True) == "0.000"
    assert number(4.2e-7, signed=True) == "+4.2 × 10⁻⁷"


def test_several_numbers_are_their_mean_and_range():
    assert mean_and_range((0.49, 0.5, 0.52)) == ("0.503", "0.490 to 0.520")
    assert mean_and_range((0.0, 0.0)) == ("0.000", "all alike")
    assert mean_and_range((0.25,)) == ("0.250", "one model")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0046, "4.6 ms"),
        (0.25, "250 ms"),
        (12.34, "12.3 s"),
        (600.0, "10.0 min"),
        (9000.0, "2.5 h"),
    ],
)
def test_a_duration_has_the_unit_a_person_would_choose(seconds, said):
    assert duration(seconds) == said


def test_text_gets_real_minus_signs_powers_and_apostrophes():
    assert typeset("models' -0.024 to +0.1, p = 4.6e-89, well-known 3-4") == (
        "models’ −0.024 to +0.1, p = 4.6 × 10⁻⁸⁹, well-known 3-4"
    )


def test_a_line_never_breaks_before_a_percent():
    assert (
        typeset("a 95 % interval of 7 samples") == "a 95\N{NO-BREAK SPACE}% interval of 7 samples"
    )
