"""The Upworthy archive: its columns, its risk window, and what must never be read from it."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.datasets.ab_tests import ABTests, read_ab_tests
from multimodal_dql.datasets.upworthy import LEAKY_COLUMNS, created_of, in_risk_window, is_upworthy
from multimodal_dql.errors import ABTestsError, ABTestsInvalid

HEADER = "clickability_test_id,headline,eyecatcher_id,lede,excerpt,impressions,clicks,significance,winner,first_place"
OLD, RISKY = "51000000aaaaaaaaaaaaaaaa", "52000000bbbbbbbbbbbbbbbb"  # 2013-01-23 and 2013-08-05
ROWS = (
    f"{OLD},Rain at noon,p1,<p>x</p>,y,1000,10,100.0,True,True",
    f"{OLD},rain  at NOON,p2,<p>x</p>,y,1200,18,3.0,False,False",
    f"{OLD},Sun at last,p1,<p>x</p>,y,900,9,0.0,False,False",
    f"{OLD},Sun at last,p1,<p>x</p>,y,800,12,0.0,False,False",
    f"{RISKY},Sun at last,p3,<p>x</p>,y,500,5,0.0,False,False",
    f"{RISKY},Hail,p3,<p>x</p>,y,500,6,0.0,False,False",
)


def write(path: Path, rows: tuple[str, ...] = ROWS, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def test_the_archive_is_recognised_and_cleaned(tmp_path: Path) -> None:
    tests = read_ab_tests(write(tmp_path / "u.csv"))
    assert tests.pool == "text"
    assert tests.test_ids == (OLD,)
    assert str(tests.created[0]) == "2013-01-23T15:21:36"
    assert tests.arm_ids == ("1", "3")
    assert tests.impressions.tolist() == [2200, 1700]
    assert tests.images == (None, "p1")
    assert tests.replicates.clicks.tolist() == [9, 12]
    assert (tests.cleaning["tests_in_risk_window"], tests.cleaning["rows_in_risk_window"]) == (1, 2)
    by_arm = read_ab_tests(tmp_path / "u.csv", pool="arm")
    assert by_arm.impressions.tolist() == [1000, 1200, 1700]
    whole = read_ab_tests(tmp_path / "u.csv", srm_window="keep")
    assert whole.test_ids == (OLD, RISKY)
    assert whole.component.tolist() == [0, 0]  # a headline of the one is also in the other
    assert (whole.risky.tolist(), whole.judged.tolist()) == ([False, True], [True, False])


def test_what_compares_nothing_may_be_kept_and_is_never_judged(tmp_path: Path) -> None:
    """A test of one headline and two pictures is one arm; one flagged row flags the whole test."""
    alone = "53000000cccccccccccccccc"
    rows = (*ROWS[:4], f"{alone},Fog,p1,,,700,7,,,", f"{alone},fog,p2,,,300,1,,,", *ROWS[4:])
    tests = read_ab_tests(write(tmp_path / "u.csv", rows))
    assert (tests.test_ids, tests.cleaning["tests_with_one_arm"]) == ((OLD,), 1)
    every = read_ab_tests(tmp_path / "u.csv", srm_window="keep", one_arm="keep")
    assert every.test_ids == (OLD, alone, RISKY)
    assert every.sizes.tolist() == [2, 1, 2]
    assert (every.impressions[2], every.clicks[2]) == (1000, 8)
    assert every.judged.tolist() == [True, False, False]
    assert every.subset(every.judged).headlines == tests.headlines
    assert every.cleaning["tests_with_one_arm"] == 1
    # "Rain at noon" was shown with p1 and p2, "Sun at last" with p1 alone; "Sun at last" and "Hail" both with p3.
    assert every.confounded.tolist() == [True, False, False]
    assert not read_ab_tests(tmp_path / "u.csv", pool="arm").confounded.any()
    flags = [0, 0, 0, 0, 0, 1, 0, 0]
    flagged = tuple(f"{row},{flag}" for row, flag in zip(rows, flags, strict=True))
    written = write(tmp_path / "f.csv", flagged, HEADER + ",srm_window_risk")
    assert read_ab_tests(written, srm_window="keep", one_arm="keep").risky.tolist() == [False, True, False]
    assert read_ab_tests(written).cleaning["rows_in_risk_window"] == 2
    with pytest.raises(ABTestsError, match="no test has two different arms"):
        read_ab_tests(write(tmp_path / "a.csv", rows[4:6]), one_arm="keep")


def test_the_flag_of_the_file_comes_before_the_day(tmp_path: Path) -> None:
    flagged = tuple(f"{row},{int(row.startswith(OLD))}" for row in ROWS)
    tests = read_ab_tests(write(tmp_path / "u.csv", flagged, HEADER + ",srm_window_risk"))
    assert tests.test_ids == (RISKY,)
    with pytest.raises(ABTestsError, match="every test is in the risk window"):
        read_ab_tests(write(tmp_path / "w.csv", ROWS[4:]))


def test_the_window_by_day_and_flag() -> None:
    days = {"2013-06-24T23:59:59": 0, "2013-06-25": 1, "2014-01-10T23:59:59": 1, "2014-01-11": 0, "NaT": 0}
    for day, risk in days.items():
        assert in_risk_window(None, np.datetime64(day, "s")) == bool(risk)
    assert in_risk_window("1", np.datetime64("2015-01-01", "s"))
    assert not in_risk_window("0", np.datetime64("2013-08-01", "s"))
    assert np.isnat(created_of("not an id"))


def test_what_became_known_after_a_test_never_gets_in(tmp_path: Path) -> None:
    """Every leaky column is filled with a word of its own; no field of the result may hold one, nor change by it."""
    fields = HEADER.split(",")
    poisoned = []
    for row in ROWS:
        cells = row.split(",")
        for name in LEAKY_COLUMNS:
            cells[fields.index(name)] = f"LEAK-{name}"
        poisoned.append(",".join(cells))
    clean, leaky = (
        read_ab_tests(write(tmp_path / "a.csv")),
        read_ab_tests(write(tmp_path / "b.csv", tuple(poisoned))),
    )
    names = {name for name in (*vars(leaky), *dir(leaky)) if not name.startswith("_")}
    assert not names & set(LEAKY_COLUMNS)
    for name in vars(leaky):
        shown = str(getattr(leaky, name))
        assert "LEAK" not in shown
        if name not in ("path", "replicates"):
            assert shown == str(getattr(clean, name))
    assert {"significance", "winner", "first_place"} <= set(LEAKY_COLUMNS)


def test_columns_and_rows_that_are_wrong(tmp_path: Path) -> None:
    assert not is_upworthy(["test", "headline"])
    header = HEADER.replace("impressions", "impression")
    with pytest.raises(ABTestsError, match="no column 'impressions' \\(did you mean 'impression'"):
        read_ab_tests(write(tmp_path / "u.csv", ROWS, header))
    bad = (ROWS[0].replace("1000,10", "1000,1001"), *ROWS[1:])
    with pytest.raises(ABTestsInvalid, match="line 2, clicks: 1001 clicks are more than 1000 impressions"):
        read_ab_tests(write(tmp_path / "v.csv", bad))


def archive() -> Path:
    folder = os.environ.get("MULTIMODAL_DQL_DATA")
    if not folder:
        pytest.skip("MULTIMODAL_DQL_DATA does not name the folder of real data")
    return Path(folder) / "upworthy" / "upworthy_exploratory_dev.csv.gz"


@pytest.fixture(scope="module")
def real() -> ABTests:
    return read_ab_tests(archive(), pool="none")


@pytest.mark.realdata
def test_the_tests_outside_the_risk_window(real: ABTests) -> None:
    assert real.G == real.cleaning["tests"] == 2852
    assert real.cleaning["rows"] == 16_872
    assert real.cleaning["tests_read"] == 3627
    assert real.cleaning["tests_with_one_arm"] == 0
    by_text = read_ab_tests(archive())
    assert by_text.cleaning["tests"] + by_text.cleaning["tests_with_one_arm"] == 2852
    assert by_text.G == 1537  # the others tested pictures only, or the same content against itself
    assert by_text.impressions.sum() < real.impressions.sum()


@pytest.mark.realdata
def test_base_rate_and_replicates(real: ABTests) -> None:
    assert real.rates.mean() == pytest.approx(0.0135, abs=0.0001)
    r = real.replicates
    n, s = np.bincount(r.group, r.impressions), np.bincount(r.group, r.clicks)
    told = s > 0
    p = np.where(told, s / n, 0.5)[r.group]
    chi = np.bincount(r.group, (r.clicks - r.impressions * p) ** 2 / (r.impressions * p * (1 - p)))[
        told
    ].sum()
    assert chi / (np.bincount(r.group) - 1)[told].sum() == pytest.approx(1.78, abs=0.03)


@pytest.mark.realdata
def test_day_and_window_can_be_told_from_the_id() -> None:
    """Copies of the archive without the added columns are cleaned in the same way."""
    with gzip.open(archive(), "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            created = created_of(row["clickability_test_id"])
            assert str(created).replace("T", " ") == row["test_created_utc"]
            assert in_risk_window(None, created) == (row["srm_window_risk"] == "1")
