"""Past A/B tests: arms with their impressions and clicks, cleaned, and which tests belong together.

Shape letters: ``G`` tests, ``A`` arms of all tests one after the other, ``K`` arms of the largest test,
``R`` replicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.datasets._ab_clean import (
    Pool,
    Test,
    by_headline,
    by_headline_and_picture,
    components,
    confounded,
    content,
    gather,
    pooled,
)
from multimodal_dql.datasets._ab_columns import outcome_columns
from multimodal_dql.datasets._ab_read import read_ab_table
from multimodal_dql.datasets._ab_rows import GENERIC_COLUMNS, ArmRow, arm_rows, normalised_headline
from multimodal_dql.datasets.catalogue import Catalogue
from multimodal_dql.datasets.upworthy import ARM_COLUMNS, is_upworthy
from multimodal_dql.errors import ABTestsError

__all__ = [
    "ABTests",
    "Pool",
    "Replicates",
    "ab_tests_of",
    "component_folds",
    "normalised_headline",
    "read_ab_tests",
]

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Replicates:
    """Counts of arms that readers could not tell apart (same headline, picture and sound in one test), before pooling.

    They differ by chance alone, so they show how much chance there is.

    Attributes:
        group: (R,) from 0, in order; at least two rows each.
        impressions: (R,).
        clicks: (R,).
    """

    group: Int
    impressions: Int
    clicks: Int

    @property
    def groups(self) -> int:
        """Number of groups."""
        return int(self.group[-1]) + 1 if len(self.group) else 0


@dataclass(frozen=True)
class ABTests:
    """A/B tests. What became known only after a test (its winner) is not in here.

    Attributes:
        path: the file they were read from.
        pool: how arms were pooled, see `read_ab_tests`.
        test_ids: (G,) names.
        created: (G,) datetime64[s], UTC; NaT when not known.
        component: (G,) tests with one number share a headline, directly or through others; split by it, never by test.
        test: (A,) index of the test of each arm, ascending.
        arm_ids: (A,) unique within a test.
        headlines: (A,) as written.
        images: (A,) path or id.
        audios: (A,) path or id.
        impressions: (A,) at least 1.
        clicks: (A,) at most `impressions`.
        risky: (G,) tests of the archive's risk window; most of them fail a sample-ratio check.
        confounded: (G,) tests whose arms, pooled by text, differ in their pictures or sounds, too.
        replicates: arms of one content before pooling, those of tests that were dropped included.
        cleaning: what was left out or merged, by name, as counts.
    """

    path: Path
    pool: Pool
    test_ids: tuple[str, ...]
    created: NDArray[np.datetime64]
    component: Int
    test: Int
    arm_ids: tuple[str, ...]
    headlines: tuple[str | None, ...]
    images: tuple[str | None, ...]
    audios: tuple[str | None, ...]
    impressions: Int
    clicks: Int
    risky: Bool
    confounded: Bool
    replicates: Replicates
    cleaning: Mapping[str, int]

    @property
    def G(self) -> int:  # noqa: N802 - a shape letter
        """Tests."""
        return len(self.test_ids)

    @property
    def A(self) -> int:  # noqa: N802 - a shape letter
        """Arms of all tests."""
        return len(self.test)

    @cached_property
    def sizes(self) -> Int:
        """Arms of each test, (G,)."""
        return np.bincount(self.test, minlength=self.G)

    @property
    def judged(self) -> Bool:
        """Tests to measure anything on, (G,): two arms or more, and outside the risk window."""
        return np.asarray(~self.risky & (self.sizes > 1))

    @cached_property
    def starts(self) -> Int:
        """Index of the first arm of each test, (G,)."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def test_slices(self) -> tuple[slice, ...]:
        """Where the arms of each test are, (G,)."""
        return tuple(slice(int(a), int(a + k)) for a, k in zip(self.starts, self.sizes, strict=True))

    @property
    def rates(self) -> Float:
        """Clicks an impression of each arm, (A,)."""
        return np.asarray(self.clicks / self.impressions)

    def padded(self) -> tuple[Int, Int, Bool]:
        """Impressions, clicks and whether there is such an arm, each (G, K); no arm has counts of 0."""
        place = np.arange(self.A) - self.starts[self.test]
        shape = (self.G, int(self.sizes.max(initial=0)))
        impressions, clicks = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        available = np.zeros(shape, np.bool_)
        impressions[self.test, place] = self.impressions
        clicks[self.test, place] = self.clicks
        available[self.test, place] = True
        return impressions, clicks, available

    def subset(self, keep: Bool) -> Self:
        """The tests where `keep` (G,) is true, in the same order.

        Components keep their numbers. Replicates and cleaning counts stay those of the whole file: they tell about
        the noise and the file, not about single tests. Raises ValueError for a mask of another shape.
        """
        if keep.shape != (self.G,) or keep.dtype != np.bool_:
            raise ValueError(f"a mask over {self.G} tests is wanted, not {keep.dtype} {keep.shape}")
        arms = keep[self.test]
        index = np.flatnonzero(arms)
        return replace(
            self,
            test_ids=tuple(self.test_ids[g] for g in np.flatnonzero(keep)),
            created=self.created[keep],
            component=self.component[keep],
            test=(np.cumsum(keep) - 1)[self.test[arms]],
            arm_ids=tuple(self.arm_ids[a] for a in index),
            headlines=tuple(self.headlines[a] for a in index),
            images=tuple(self.images[a] for a in index),
            audios=tuple(self.audios[a] for a in index),
            impressions=self.impressions[arms],
            clicks=self.clicks[arms],
            risky=self.risky[keep],
            confounded=self.confounded[keep],
        )


def component_folds(tests: ABTests, folds: int, seed: int) -> Int:
    """A fold (0 .. folds - 1) for each test, (G,): linked tests share one, and folds hold nearly as many tests each.

    Components are dealt out at random, each to the fold that has fewest tests so far.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 11]))
    names, index = np.unique(tests.component, return_inverse=True)
    sizes = np.bincount(index)
    # Large components first, so that small ones can level the folds; ties in random order.
    order = np.lexsort((rng.random(len(names)), -sizes))
    fold, load = np.empty(len(names), np.int64), np.zeros(folds) + rng.random(folds) / 2
    for c in order:
        fold[c] = np.argmin(load)
        load[fold[c]] += sizes[c]
    return np.asarray(fold[index])


def read_ab_tests(
    path: str | Path,
    *,
    srm_window: Literal["drop", "keep"] = "drop",
    one_arm: Literal["drop", "keep"] = "drop",
    pool: Pool | None = None,
    pictures: bool = False,
) -> ABTests:
    """Read A/B tests: CSV, CSV.gz or Parquet, one row an arm.

    Columns: ``test, variant, impressions, clicks`` and, if known, ``headline, image, audio, created``; or those of the
    Upworthy Research Archive (see `multimodal_dql.datasets.upworthy`). All others are never read, whatever is in them;
    ``cleaning`` counts them, and those among them that by their name became known after a test (`outcome_columns`).

    Args:
        path: the file.
        srm_window: for the archive, whether to leave out the months whose tests mostly fail a sample-ratio check.
        one_arm: whether to leave out tests with a single arm, which compare nothing, but tell what gets clicked.
        pool: which rows of a test are one arm. ``text``: the same headline, whatever the picture (for studies of
            texts; headlines are compared as by `normalised_headline`). ``arm``: the same headline, picture and
            sound. ``none``: no two. Default: ``text`` for the archive, which has no pictures, else ``arm``.
        pictures: whether what is learned will look at pictures: tests that share one are then linked too.

    Raises:
        ABTestsError: the file cannot be read, columns are missing, or no test with two arms is left.
        ABTestsInvalid: rows are wrong; all of them, each with line, field and cure.
    """
    path = Path(path)
    table = read_ab_table(path)
    rows = arm_rows(path, table)
    pool = pool or ("text" if is_upworthy(table.columns) else "arm")
    known = ARM_COLUMNS.values() if is_upworthy(table.columns) else GENERIC_COLUMNS
    ignored = [name for name in table.columns if name and name not in known]
    return _from_rows(
        path,
        rows,
        pool,
        drop_risky=srm_window == "drop",
        least=1 if one_arm == "keep" else 2,
        pictures=pictures,
        ignored=ignored,
    )


def ab_tests_of(catalogue: Catalogue) -> ABTests:
    """A catalogue with impressions and clicks as A/B tests: an item is a test, its variants are the arms.

    Raises:
        ABTestsError: no item has two different variants with impressions.
    """
    unknown = np.datetime64("NaT", "s")
    rows = [
        ArmRow(
            test=v.item_id,
            arm=v.variant_id,
            headline=(v.caption or "").strip() or None,
            image=None if v.image is None else str(v.image),
            audio=None if v.audio is None else str(v.audio),
            impressions=v.impressions,
            clicks=v.clicks,
            created=unknown,
            risk=False,
            line=v.line,
        )
        for v in catalogue.variants
    ]
    if not any(row.impressions for row in rows):
        raise ABTestsError(
            path=catalogue.path,
            detail="no variant has impressions; add the columns impressions and clicks with what really happened",
            detail_zh="没有任何变体有展示数；请添加 impressions 与 clicks 两列，填入真实结果",
        )
    return _from_rows(catalogue.path, rows, "arm", drop_risky=True, pictures=True)


def _from_rows(
    path: Path,
    rows: list[ArmRow],
    pool: Pool,
    *,
    drop_risky: bool,
    pictures: bool,
    least: int = 2,
    ignored: Sequence[str] = (),
) -> ABTests:
    window = {row.test for row in rows if row.risk}
    risky = [row for row in rows if drop_risky and row.test in window]
    used = [row for row in rows if not (drop_risky and row.test in window)]
    shown = [row for row in used if row.impressions]
    tests = gather(shown)
    linked = components(tests, by_headline_and_picture if pictures else by_headline)
    arms = [pooled(test.rows, pool) for test in tests]
    kept = [g for g, found in enumerate(arms) if len(found) >= least]
    if not any(len(arms[g]) > 1 for g in kept):
        raise _nothing_left(path, risky=len(risky), shown=len(shown))
    flat = [(i, arm) for i, g in enumerate(kept) for arm in arms[g]]
    cleaning = {
        "columns_ignored": len(ignored),
        "columns_from_after_a_test": len(outcome_columns(ignored)),
        "rows": len(rows),
        "tests_read": len({row.test for row in rows}),
        "rows_in_risk_window": len(risky),
        "tests_in_risk_window": len({row.test for row in risky}),
        "rows_without_impressions": len(used) - len(shown),
        "rows_pooled": len(shown) - sum(map(len, arms)),
        "tests_with_one_arm": sum(len(found) < 2 for found in arms),
        "tests": len(kept),
        "arms": len(flat),
    }
    return ABTests(
        path=path,
        pool=pool,
        test_ids=tuple(tests[g].test for g in kept),
        created=np.array([tests[g].created for g in kept], "datetime64[s]"),
        component=np.array([linked[g] for g in kept], np.int64),
        test=np.array([i for i, _ in flat], np.int64),
        arm_ids=tuple(arm.arm for _, arm in flat),
        headlines=tuple(arm.headline for _, arm in flat),
        images=tuple(arm.image for _, arm in flat),
        audios=tuple(arm.audio for _, arm in flat),
        impressions=np.array([arm.impressions for _, arm in flat], np.int64),
        clicks=np.array([arm.clicks for _, arm in flat], np.int64),
        risky=np.array([tests[g].test in window for g in kept], np.bool_),
        confounded=np.array([pool == "text" and confounded(tests[g].rows) for g in kept], np.bool_),
        replicates=_replicates(tests),
        cleaning=cleaning,
    )


def _replicates(tests: list[Test]) -> Replicates:
    rows: list[tuple[int, int, int]] = []
    groups = 0
    for test in tests:
        same: dict[tuple[str | None, ...], list[tuple[int, int]]] = {}
        for row in test.rows:
            same.setdefault(content(row), []).append((row.impressions, row.clicks))
        for counts in same.values():
            if len(counts) > 1:
                rows += [(groups, *count) for count in counts]
                groups += 1
    columns = np.array(rows, np.int64).reshape(-1, 3)
    return Replicates(columns[:, 0], columns[:, 1], columns[:, 2])


def _nothing_left(path: Path, *, risky: int, shown: int) -> ABTestsError:
    if risky and not shown:
        return ABTestsError(
            path=path,
            detail="every test is in the risk window (2013-06-25 to 2014-01-10); use other tests, or keep the window"
            " and trust the result less",
            detail_zh="所有测试都在风险时段内（2013-06-25 至 2014-01-10）；请改用其他测试，或保留该时段并谨慎看待结果",
        )
    return ABTestsError(
        path=path,
        detail="no test has two different arms with impressions, so nothing was compared;"
        " give the arms of one test the same test id and different contents",
        detail_zh="没有任何测试有两个不同且有展示的变体，无从比较；请让同一测试的各变体使用相同的 test 且内容不同",
    )
