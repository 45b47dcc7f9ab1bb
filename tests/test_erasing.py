"""A person is removed from logs, from runs that learned from them, and from reports; what cannot be is said."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from multimodal_dql.agent import Agent
from multimodal_dql.checkpoint import checkpoints
from multimodal_dql.erasing import Erased, erase
from multimodal_dql.errors import EventsError, RunError, UsageError
from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.training import train, train_from_log
from tests.datasets.logs import rows, write_jsonl, write_parquet

from .test_logged import CONTEXT as TOLD
from .test_logged import FEATURES, SMALL, event
from .test_logged import write as write_log

pytestmark = pytest.mark.usefixtures("shared_graphs")

PERSON = "读者-7"


def log_of(path: Path, person: str | None = PERSON, decisions: int = 400) -> Path:
    """Four decisions of the person, whose context nobody else has."""
    held = [event(n, n % 6, n % 2, int(n % 5 == 0), f"s{n // 4}") for n in range(decisions)]
    for n in range(8, 12) if person else ():
        held[n] |= {"session_id": person, "context": list((TOLD | {"hour": "3", "device": "tablet"}).items())}
    return write_log(path, held)


def by_name(done: Erased, which: str) -> dict[str, str]:
    return {path.name: str(note) for path, note in getattr(done, which)}


class Cut(Exception):
    pass


def stop(done: int, total: int, row: dict[str, float]) -> None:
    if done == 3:
        raise Cut


def test_runs_that_learned_from_the_log(tmp_path: Path) -> None:
    """Checkpoints go, users that are theirs go, the run still loads and is to be trained anew; others stay."""
    log, other = log_of(tmp_path / "log.parquet"), log_of(tmp_path / "other.parquet", None, 404)
    config = replace(SMALL, iterations=4, checkpoint_every=1)
    train_from_log(FEATURES, config, log, run=tmp_path / "学过", keep_checkpoints=True)
    train_from_log(FEATURES, config, other, run=tmp_path / "没学过", keep_checkpoints=True)
    with pytest.raises(Cut):
        train_from_log(FEATURES, config, log, run=tmp_path / "中断", progress=stop)
    train(FEATURES, replace(config, expected_reward=True), run=tmp_path / "模拟")
    theirs = [f.parse((TOLD | {"hour": "3", "device": "tablet"})[f.name]) for f in CONTEXT.fields]
    path = tmp_path / "学过" / "config.json"
    settings = json.loads(path.read_text("utf-8"))
    # Whether the 256 users drawn from the log hold the person is chance: make sure.
    settings["audience"][5] = theirs
    path.write_text(json.dumps(settings), "utf-8")

    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    planned = erase([tmp_path], PERSON, dry_run=True)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    done = erase([tmp_path], PERSON)
    assert planned.as_dict("zh") == done.as_dict("zh")

    assert {e.path.name: (e.rows, e.removed) for e in done.logs} == {
        "log.parquet": (400, 4),
        "other.parquet": (404, 0),
    }
    assert set(by_name(done, "retrain")) == {"学过", "中断"}
    kept = by_name(done, "kept")
    assert kept["没学过"] == "learned from a log that never held the person"
    assert kept["模拟"].startswith("learned from no log")
    assert not (tmp_path / "学过" / "checkpoints").exists()
    assert not (tmp_path / "中断" / "unfinished").exists()
    assert checkpoints(tmp_path / "没学过" / "checkpoints")
    assert theirs not in json.loads(path.read_text("utf-8"))["audience"]
    Agent.load(tmp_path / "学过")
    with pytest.raises(RunError, match="holds no interrupted training"):
        train_from_log(FEATURES, config, log, run=tmp_path / "中断", resume=True)
    # Once more there is nothing left, but the run does not know it: its log is no longer the one that it names.
    again = erase([tmp_path], PERSON)
    assert sum(e.removed for e in again.logs) == 0
    assert by_name(again, "kept")["学过"].startswith("learned from a log that is not among the paths")


def test_a_folder_is_known_by_its_parts(tmp_path: Path) -> None:
    parts = tmp_path / "log"
    parts.mkdir()
    log_of(parts / "a.parquet", None)
    held = [event(n, n % 6, 0, n % 2, PERSON) for n in range(400, 420)]
    write_log(parts / "b.parquet", held)
    train_from_log(FEATURES, replace(SMALL, iterations=1), parts, run=tmp_path / "run")
    done = erase([parts, tmp_path / "run"], PERSON)
    assert [e.removed for e in done.logs] == [0, 20]
    assert set(by_name(done, "retrain")) == {"run"}


def report(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, "utf-8")
    return folder


def test_reports_that_name_the_person(tmp_path: Path) -> None:
    folder = report(
        tmp_path / "报告",
        index_html=f"<b>{PERSON}</b> 与 {PERSON}8、x-{PERSON}; data:image/png;base64,AAA{PERSON}AAA",
        ranking_json=json.dumps({"who": [PERSON, f"{PERSON}8"]}),
        table_csv=f"session_id,click\n{PERSON},1\n",
        other_txt="nobody",
    )
    (folder / "picture.png").write_bytes(PERSON.encode())
    done = erase([folder], PERSON)
    # Not within a longer name, which is somebody else's.
    assert (folder / "index.html").read_text("utf-8") == (
        f"<b>[erased]</b> 与 {PERSON}8、x-{PERSON}; data:image/png;base64,AAA{PERSON}AAA"
    )
    assert json.loads((folder / "ranking.json").read_text("utf-8")) == {"who": ["[erased]", f"{PERSON}8"]}
    assert by_name(done, "removed") == dict.fromkeys(
        ("index.html", "ranking.json", "table.csv"), "their id, 1 times"
    )
    assert by_name(done, "kept")["table.csv"].startswith("is a table that names the person")
    assert by_name(done, "kept")["picture.png"] == "is no log and no text, and was not searched"


@pytest.mark.parametrize("subject", ["7", "12345"])
def test_an_id_that_may_mean_something_else_is_left_for_the_user(tmp_path: Path, subject: str) -> None:
    folder = report(tmp_path / "r", a_json=json.dumps({"clicks": int(subject)}), b_txt="none")
    before = (folder / "a.json").read_bytes()
    done = erase([folder], subject)
    assert (folder / "a.json").read_bytes() == before
    assert by_name(done, "kept") == {"a.json": next(iter(by_name(done, "kept").values()))}
    assert "may mean something else there" in by_name(done, "kept")["a.json"]


def test_the_feature_cache_holds_nobody(tmp_path: Path) -> None:
    store = tmp_path / "features" / hashlib.sha256(b"e").hexdigest()[:32]
    store.mkdir(parents=True)
    for name in ("about.json", "index.bin", "rows.f32"):
        (store / name).write_text(PERSON, "utf-8")
    done = erase([tmp_path / "features"], PERSON)
    assert by_name(done, "kept") == {
        store.name: "holds embeddings of variants under the hash of their content; nothing of a person"
    }
    assert (store / "about.json").read_text("utf-8") == PERSON


def test_nothing_is_changed_when_one_log_is_damaged(tmp_path: Path) -> None:
    good, bad = (
        write_parquet(tmp_path / "a.parquet", rows(8)),
        write_jsonl(tmp_path / "b.jsonl.gz", rows(3000)),
    )
    bad.write_bytes(bad.read_bytes()[:-1000])
    before = good.read_bytes()
    with pytest.raises(EventsError, match=r"b\.jsonl\.gz: is cut short or damaged"):
        erase([good, bad], "会话2")
    assert good.read_bytes() == before


def test_refusals(tmp_path: Path) -> None:
    cases: list[tuple[list[Path], str, Any, str]] = [
        ([tmp_path / "无"], "s1", EventsError, "there is no such file"),
        ([tmp_path], " ", UsageError, "--subject is empty"),
    ]
    for paths, subject, kind, words in cases:
        with pytest.raises(kind, match=words):
            erase(paths, subject)
