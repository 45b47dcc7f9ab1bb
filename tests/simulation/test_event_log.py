"""Events: every decision once, with what was known, what was done and how likely that was."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from multimodal_dql.candidates import ContentProjection, candidate_table
from multimodal_dql.datasets.events import EventWriter, event_schema
from multimodal_dql.errors import OutputError
from multimodal_dql.policies.registry import make_policy
from multimodal_dql.simulation.arms import Arm
from multimodal_dql.simulation.audience import Audience, World
from multimodal_dql.simulation.event_log import events_of
from multimodal_dql.simulation.experiment import Block, Plan, collect
from multimodal_dql.simulation.sessions import Stage
from tests.test_candidates import encoded


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    features = encoded(items=8)
    projection = ContentProjection.fit(features)
    candidates = candidate_table(features, projection)
    stage = Stage.of(World.draw(Audience.draw(candidates, projection.widths, 0), candidates, 0))
    path = tmp_path_factory.mktemp("events") / "log.parquet"
    blocks: list[Block] = []
    with EventWriter(path) as writer:

        def keep(block: Block) -> None:
            blocks.append(block)
            writer.write(events_of(block, features.catalogue, model_version="运行-1", fingerprint="f0"))

        collected = collect(
            stage, [Arm(n, make_policy(n)) for n in ("uniform", "thompson")], Plan(2500), keep=keep
        )
    return features.catalogue, collected, blocks, pq.read_table(path)


def test_the_schema_is_kept(log) -> None:  # type: ignore[no-untyped-def]
    assert log[3].schema.equals(event_schema())


def test_every_decision_is_there_once(log) -> None:  # type: ignore[no-untyped-def]
    _, collected, _, table = log
    ids = table["event_id"].to_pylist()
    assert len(set(ids)) == len(ids)
    for arm in ("uniform", "thompson"):
        rows = table.filter(np.array(table["policy"].to_pylist()) == arm)
        impressions, clicks, _ = collected.by_variant[arm].sum(axis=0)
        assert rows.num_rows == impressions
        assert sum(rows["click"].to_pylist()) == clicks
        assert set(rows["model_version"].to_pylist()) == {"运行-1"}


def test_probabilities_are_propensities(log) -> None:  # type: ignore[no-untyped-def]
    catalogue, _, _, table = log
    sizes = {item.item_id: len(item.variants) for item in catalogue.items}
    for row in table.slice(0, 3000).to_pylist():
        assert 0 < row["probability"] <= 1
        assert row["action"] in row["candidates"]
        assert len(row["candidates"]) == len(row["records"]) == sizes[row["item_id"]]
        if row["policy"] == "uniform":
            assert row["probability"] == pytest.approx(1 / sizes[row["item_id"]])
        context = dict(row["context"])
        assert context["device"] in ("mobile", "desktop", "tablet")
        assert 0 <= float(context["hour"]) <= 24
        assert (row["dwell_seconds"] > 0) == (row["click"] == 1)


def test_records_are_what_was_known_then(log) -> None:  # type: ignore[no-untyped-def]
    """In the first block nothing; later the counts of the blocks before, never those of its own."""
    catalogue, _, blocks, table = log
    rows = [r for r in table.to_pylist() if r["policy"] == "thompson"]
    first = [r for r in rows if int(r["session_id"][1:]) < 125]
    assert all(c == {"impressions": 0, "clicks": 0} for r in first for c in r["records"])
    last = rows[-1]
    item = [i.item_id for i in catalogue.items].index(last["item_id"])
    ledger = blocks[-1].ledger
    assert [c["impressions"] for c in last["records"]] == ledger.impressions[item][
        : len(last["records"])
    ].tolist()
    before = [
        r
        for r in rows
        if r["item_id"] == last["item_id"] and int(r["session_id"][1:]) < blocks[-1].sessions.ids[0]
    ]
    for k, variant in enumerate(last["candidates"]):
        shown = [r for r in before if r["action"] == variant]
        assert last["records"][k] == {"impressions": len(shown), "clicks": sum(r["click"] for r in shown)}


def test_time_goes_forward_within_a_session(log) -> None:  # type: ignore[no-untyped-def]
    rows = [r for r in log[3].to_pylist() if r["policy"] == "uniform"]
    for a, b in pairwise(rows):
        if a["session_id"] == b["session_id"]:
            assert (b["time"] - a["time"]).total_seconds() == 30


def test_a_failed_run_leaves_no_log(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    path.write_text("an older log")
    with pytest.raises(RuntimeError), EventWriter(path):
        raise RuntimeError
    assert path.read_text() == "an older log"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match="name a place where you may write"),
        EventWriter(tmp_path / "file" / "log.parquet"),
    ):
        pass
