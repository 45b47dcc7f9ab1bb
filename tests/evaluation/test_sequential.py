"""Group-sequential bounds against the published tables and gsDesign, and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.errors import UsageError
from multimodal_dql.evaluation.sequential import crossing_probabilities, group_sequential

# Jennison & Turnbull (2000), tables 2.1 and 2.3: C_P(K, alpha) and C_B(K, alpha), two-sided.
LOOKS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
POCOCK = {
    0.01: (2.576, 2.772, 2.873, 2.939, 2.986, 3.023, 3.053, 3.078, 3.099, 3.117),
    0.05: (1.960, 2.178, 2.289, 2.361, 2.413, 2.453, 2.485, 2.512, 2.535, 2.555),
    0.10: (1.645, 1.875, 1.992, 2.067, 2.122, 2.164, 2.197, 2.225, 2.249, 2.270),
}
OBRIEN_FLEMING = {
    0.01: (2.576, 2.580, 2.595, 2.609, 2.621, 2.631, 2.640, 2.648, 2.654, 2.660),
    0.05: (1.960, 1.977, 2.004, 2.024, 2.040, 2.053, 2.063, 2.072, 2.080, 2.087),
    0.10: (1.645, 1.678, 1.710, 1.733, 1.751, 1.765, 1.776, 1.786, 1.794, 1.801),
}


@pytest.mark.parametrize("alpha", POCOCK)
def test_classical_constants(alpha: float) -> None:
    for looks, pocock, obrien_fleming in zip(LOOKS, POCOCK[alpha], OBRIEN_FLEMING[alpha], strict=True):
        constant = group_sequential(looks, alpha, spending="classical-pocock").z_bounds
        assert constant == pytest.approx([pocock] * looks, abs=6e-4)
        falling = group_sequential(looks, alpha, spending="classical-obrien-fleming").z_bounds
        assert falling == pytest.approx(
            [obrien_fleming * math.sqrt(looks / k) for k in range(1, looks + 1)], rel=3e-4
        )


def test_lan_demets_obrien_fleming() -> None:
    # gsDesign 3.11, k = 5, sfLDOF at one-sided .025: printed to 13 digits in its test fixtures.
    published = (4.876884948776, 3.357010992883, 2.680279581382, 2.289816682347, 2.031032215060)
    one = group_sequential(5, 0.025, sides=1)
    assert one.z_bounds == pytest.approx(published, abs=2e-6)
    two = group_sequential(5, 0.05)
    assert two.z_bounds == pytest.approx((4.877, 3.357, 2.680, 2.290, 2.031), abs=5e-4)
    assert two.nominal_p[-1] == pytest.approx(0.0423, abs=5e-5)
    assert one.cumulative_alpha[:3] == pytest.approx(
        np.cumsum([5.38871262945e-7, 0.0003936130192731, 0.003413911554315]), rel=2e-5
    )
    three = group_sequential(3, 0.025, sides=1)
    assert three.z_bounds == pytest.approx((3.7103, 2.5114, 1.9930), abs=5e-5)  # gsDesign and rpact alike


def test_spending_by_hand() -> None:
    # Kim & DeMets with rho 3 at half the information: .05 / 8; Pocock type: .05 log(1 + (e - 1) / 2) = .031006.
    assert group_sequential(2, spending="kim-demets:3").cumulative_alpha == pytest.approx((0.00625, 0.05))
    assert group_sequential(2, spending="pocock").cumulative_alpha == pytest.approx(
        (0.0310057, 0.05), abs=1e-7
    )


def test_power_and_expected_sample_published() -> None:
    # SAS/STAT user's guide, SEQDESIGN example 3: Pocock, 4 stages, alpha .05, power .9: maximum 118.3143 % of the fixed
    # sample, expected 115.6074 % under the null and 69.74805 % under the alternative.
    pocock = group_sequential(4, spending="classical-pocock")
    inflation = pocock.inflation(0.9)
    assert inflation == pytest.approx(1.183143, abs=2e-6)
    assert inflation * pocock.expected_fraction(0.0) == pytest.approx(1.156074, abs=2e-6)
    assert inflation * pocock.expected_fraction(pocock.drift(0.9)) == pytest.approx(0.6974805, abs=2e-6)
    # gsDesign(k = 4, test.type = 1, sfu = "OF"): largest sample, expected under the null and the alternative.
    classical = group_sequential(4, 0.025, sides=1, spending="classical-obrien-fleming")
    inflation = classical.inflation(0.9)
    assert inflation == pytest.approx(1.0221627, abs=1e-6)
    assert inflation * classical.expected_fraction(0.0) == pytest.approx(1.0189449, abs=1e-6)
    assert inflation * classical.expected_fraction(classical.drift(0.9)) == pytest.approx(0.7673970, abs=1e-6)
    # Jennison & Turnbull (2000), tables 2.2 and 2.4: R_P and R_B for K = 5, alpha .05, power .8 and .9.
    five = group_sequential(5, spending="classical-pocock")
    assert (five.inflation(0.8), five.inflation(0.9)) == pytest.approx((1.229, 1.207), abs=6e-4)
    five = group_sequential(5, spending="classical-obrien-fleming")
    assert (five.inflation(0.8), five.inflation(0.9)) == pytest.approx((1.028, 1.026), abs=6e-4)


def test_one_look_is_the_fixed_test() -> None:
    design = group_sequential(1)
    assert design.z_bounds == pytest.approx((1.959964,), abs=1e-6)
    assert design.inflation(0.8) == pytest.approx(1, abs=1e-6)
    assert design.expected_fraction(3.0) == 1.0


def test_armitage_repeated_tests() -> None:
    # Armitage, McPherson & Rowe (1969), table 2: testing at the two-sided 5 % level at every one of K looks.
    for looks, alpha in (
        (1, 0.050),
        (2, 0.083),
        (3, 0.107),
        (4, 0.126),
        (5, 0.142),
        (10, 0.193),
        (20, 0.248),
    ):
        t = np.arange(1, looks + 1) / looks
        upper, lower = crossing_probabilities([1.959964] * looks, t, 0.0)
        assert (upper + lower).sum() == pytest.approx(alpha, abs=6e-4)


def test_against_simulated_paths() -> None:
    fractions, drift, runs = (0.2, 0.5, 0.6, 1.0), 2.5, 200_000
    design = group_sequential(fractions, spending="pocock")
    rng = np.random.Generator(np.random.Philox(12))
    steps = np.diff(fractions, prepend=0.0)
    z = np.cumsum(rng.normal(drift * steps, np.sqrt(steps), (runs, 4)), 1) / np.sqrt(fractions)
    crossed = np.abs(z) >= design.z_bounds
    first = np.where(crossed.any(1), crossed.argmax(1), 9)
    simulated = [(first == k).mean() for k in range(4)]
    # Five standard errors of a share of 200,000: false alarm below 1 in 100,000.
    assert design.stopping(drift) == pytest.approx(simulated, abs=5 * 0.5 / math.sqrt(runs))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0.02, 1), min_size=1, max_size=6),
    st.sampled_from(["obrien-fleming", "pocock", "kim-demets:2"]),
    st.sampled_from([1, 2]),
)
def test_alpha_is_spent_and_no_more(gaps: list[float], spending: str, sides: int) -> None:
    design = group_sequential(list(np.cumsum(gaps) / np.sum(gaps)), 0.05, sides, spending)
    assert design.cumulative_alpha[-1] == pytest.approx(0.05, abs=1e-8)
    assert design.power(design.drift(0.7)) == pytest.approx(0.7, abs=1e-8)


def test_a_look_too_early_to_stop_at() -> None:
    design = group_sequential([0.001, 1.0])
    assert design.z_bounds[0] >= 10
    assert design.z_bounds[1] == pytest.approx(1.959964, abs=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"looks": 0},
        {"looks": 201},
        {"looks": [0.5, 0.4, 1.0]},
        {"looks": [0.5, 0.9]},
        {"looks": []},
        {"looks": 2, "alpha": 0.0},
        {"looks": 2, "sides": 3},
        {"looks": 2, "spending": "haybittle"},
        {"looks": 2, "spending": "kim-demets:x"},
        {"looks": 2, "spending": "classical-x"},
    ],
)
def test_mistakes_are_named(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        group_sequential(**arguments)  # type: ignore[arg-type]
    if arguments["looks"] == 2 and "spending" not in arguments:
        return
    with pytest.raises(UsageError):
        group_sequential(2).drift(1.0)
