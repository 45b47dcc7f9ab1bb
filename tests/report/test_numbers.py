import math

import pytest

from multimodal_dql.report import numbers


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "<1%"),
        (0.0099, "<1%"),
        (0.01, "1%"),
        (0.373, "37%"),
        (0.99, "99%"),
        (0.991, ">99%"),
        (1.0, ">99%"),
    ],
)
def test_a_chance_is_never_rounded_to_a_certainty(probability, text):
    assert numbers.chance(probability) == text


def test_an_unknown_chance_is_a_dash():
    assert numbers.chance(math.nan) == "–"


@pytest.mark.parametrize(
    ("rates", "digits"),
    [
        ((0.034, 0.041), 1),
        ((0.0042, 0.03), 2),
        ((0.00042,), 3),
        ((0.34,), 1),
        ((0.0, math.nan), 1),
        ((1e-9,), 4),
    ],
)
def test_digits_show_two_significant_figures_of_the_smallest_rate(rates, digits):
    assert numbers.rate_digits(*rates) == digits


def test_signed_percent():
    assert numbers.signed_percent(0.0836) == "+8.4%"
    assert numbers.signed_percent(-0.0836, minus="−") == "−8.4%"
    assert numbers.signed_percent(-0.0001) == "0.0%"
    assert numbers.signed_percent(math.inf) == "–"


def test_rate_and_count():
    assert numbers.rate(0.0342) == "3.4%"
    assert numbers.rate(0.034567, 2) == "3.46%"
    assert numbers.rate(math.nan) == "–"
    assert numbers.plain(0.34159) == "0.342"
    assert numbers.plain(math.inf) == "–"
    assert numbers.count(20_000) == "20,000"


def test_numbers_side_by_side_have_the_same_decimals() -> None:
    """Three significant digits of the largest."""
    assert [
        numbers.decimals(*values) for values in ((0.815, 0.69), (0.0123, 0.9), (1234.0,), (), (0.0,))
    ] == [
        3,
        3,
        0,
        2,
        2,
    ]
    assert numbers.decimals(0.01) == 4
    assert numbers.fixed(0.69, 3) == "0.690"
    assert numbers.fixed(1234.5, 1) == "1,234.5"
    assert numbers.fixed(math.nan, 1) == "–"
