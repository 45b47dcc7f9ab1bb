"""`bench training`: the contest, the known answers of the learning check, and the whole command with tiny sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from multimodal_dql.bench import contest
from multimodal_dql.bench.contest import FOREIGN, Contest, Contestant, ContestError, Turn, hold
from multimodal_dql.bench.products import Product, bare_products, products_of
from multimodal_dql.bench.training import REFERENCE, bench_training, peer_commands
from multimodal_dql.bench.training_check import (
    DISCOUNT,
    END,
    STATES,
    Outcome,
    Process,
    compare,
    learn,
    policy_value,
)
from multimodal_dql.bench.training_jobs import Job, dense_learner
from multimodal_dql.errors import UsageError
from multimodal_dql.learning.threads import one_thread_a_shard, shards_for

TINY = Job(
    threads=2, batch=16, width=8, hidden=(8, 8), actions=3, replay=50, candidates=4, set_hidden=8, content=2
)


# --- the contest


class Scripted(Contestant):
    """A contestant whose turns are written down: (rate, foreign), the last one for ever."""

    def __init__(self, name: str, turns: list[tuple[float, float]]) -> None:
        self.name, self.turns, self.facts, self.asked = name, turns, {"step": 10}, []

    def turn(self, amount: int) -> Turn:
        self.asked.append(amount)
        rate, foreign = self.turns[min(len(self.asked) - 1, len(self.turns) - 1)]
        return Turn(rate, 1.0, foreign)


@pytest.fixture
def never_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The turns are written down; what this machine is doing must not matter."""
    monkeypatch.setattr(contest, "_busy_seconds", lambda: None)


@pytest.mark.usefixtures("never_waiting")
def test_only_quiet_rounds_count() -> None:
    """The first turn sizes the others. Round 1 is loud for one of the two: it does not count for either."""
    ours = Scripted("ours", [(100, 0), (7, 0), (120, 0), (100, 0), (110, 0)])
    theirs = Scripted("theirs", [(50, 0), (50, 2 * FOREIGN), (60, 0), (50, 0), (44, 0)])
    found = Contest([ours, theirs], seconds=2.0, rounds=3, patience=60).run()
    assert ours.asked == [10, 200, 200, 200, 200]
    assert theirs.asked == [10, 100, 100, 100, 100]
    assert found["rates"] == {"ours": 110, "theirs": 50}
    assert found["span"]["ours"] == (100, 120)
    assert found["ratios"]["ours", "theirs"] == 2.0  # of 2, 2 and 2.5
    assert (found["rounds"], found["quiet_rounds"], found["foreign"]) == (3, 3, 0)


@pytest.mark.usefixtures("never_waiting")
def test_patience_ends_and_says_so() -> None:
    ours = Scripted("ours", [(100, 0), (1, 1.5), (100, 0.5)])
    found = Contest([ours], rounds=1, patience=0).run()
    assert (found["rates"], found["quiet_rounds"], found["foreign"]) == ({"ours": 1}, 0, 1.5)


def test_a_process_takes_turns_and_ends_with_the_block(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, 'multimodal_dql/bench/peers')\n"
        "from serving import serve\nimport time\nprint('noise')\nserve(lambda n: time.sleep(n / 1000), step=7)"
    )
    with hold({"sleeper": [sys.executable, "-c", code]}, 1, tmp_path) as (sleeper,):
        assert sleeper.facts["step"] == 7
        turn = sleeper.turn(20)
        assert 0 < turn.rate <= 1000
        assert turn.used < 1
        process = sleeper.process
        assert process.poll() is None
    assert process.poll() == 0


def test_a_process_that_dies_says_why(tmp_path: Path) -> None:
    code = "raise SystemExit('no such peer here')"
    broken = hold({"broken": [sys.executable, "-c", code]}, 1, tmp_path)
    with pytest.raises(ContestError, match=r"'broken' stopped: no such peer here"), broken:
        pass


def test_waiting_for_quiet_looks_at_others_and_at_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two half seconds of someone else's work, then an idle one; the clock stands still until it is told to run."""
    clock = {"now": 0.0, "slept": 0}
    readings = iter([0.0, 0.5, 0.5, 1.0, 1.0, 1.0])

    def sleep(seconds: float) -> None:
        clock["now"] += seconds
        clock["slept"] += 1

    monkeypatch.setattr(contest.time, "perf_counter", lambda: clock["now"])
    monkeypatch.setattr(contest.time, "sleep", sleep)
    monkeypatch.setattr(contest, "_busy_seconds", lambda: next(readings))
    contest._wait_for_quiet(60.0)
    assert clock["slept"] == 3
    monkeypatch.setattr(contest, "_busy_seconds", lambda: clock["now"])  # always busy
    contest._wait_for_quiet(10.0)
    assert 10.0 <= clock["now"] < 11.0


# --- what is measured


def test_products_are_counted_from_the_graph() -> None:
    """Per shard of 8 rows: three forward passes, and backward all products but the one for the input's gradient."""
    found = products_of(dense_learner(TINY))
    forward = 2 * 8 * (8 * 8 + 8 * 8 + 8 * 3)
    assert len(found) == 2 * (3 * 3 + 5)
    assert sum(p.flops for p in found) == 2 * (3 * forward + 2 * forward - 2 * 8 * 8 * 8)
    assert Product((5, 2, 3), (1, 4, 3), False, True, "float32").flops == 5 * 2 * 2 * 4 * 3
    assert np.isfinite(bare_products(found)(3))


def test_shards_divide_the_batch() -> None:
    assert [shards_for(256, n) for n in (1, 2, 3, 8)] == [1, 2, 2, 8]
    assert shards_for(9, 2) == 1


def test_threads_cannot_change_once_tensorflow_runs() -> None:
    tf.constant(1) + 1
    with pytest.raises(UsageError, match="set them before anything is computed"):
        one_thread_a_shard(63)


def test_a_job_survives_the_command_line() -> None:
    assert Job.from_json(TINY.to_json()) == TINY
    commands = peer_commands(Path("/peers/python"), TINY)
    assert set(commands) == set(REFERENCE[1]) == set(REFERENCE[2])
    assert [Job.from_json(c[-1]).feed for c in commands.values()] == ["scan", "scan", "numpy"]
    assert all(Path(c[-2]).is_file() for c in commands.values())


# --- the learning check


def test_the_best_values_solve_the_optimality_equation() -> None:
    process = Process.draw(3)
    best = process.best.max(axis=1)
    going = DISCOUNT * (1 - END)
    np.testing.assert_allclose(process.reward + going * process.moves @ best, process.best, atol=1e-8)
    greedy = process.best.argmax(axis=1)
    np.testing.assert_allclose(policy_value(process, greedy), best, atol=1e-8)
    worse = policy_value(process, (greedy + 1) % 5)
    assert (worse < best).all()
    np.testing.assert_allclose(process.moves.sum(axis=2), np.ones((STATES, 5)))


def test_precisions_are_equal_only_within_the_margin() -> None:
    exact = [Outcome(0.2 + 0.01 * i, 0.99) for i in range(4)]
    near = [Outcome(o.error + 0.001 * (-1) ** i, o.share) for i, o in enumerate(exact)]
    found = compare({"float32": exact, "bfloat16": near})
    assert found["equal"]
    # Differences .001, -.001, .001, -.001: mean 0, sd .0011547, t(.975, 3) = 3.1824 over sqrt 4.
    assert found["error"]["high"] == round(3.1824 * 0.0011547 / 2, 4)
    far = [Outcome(o.error + 0.03, o.share) for o in near]
    assert not compare({"float32": exact, "bfloat16": far})["equal"]
    wild = [Outcome(o.error, o.share + 0.05 * (-1) ** i) for i, o in enumerate(exact)]
    assert not compare({"float32": exact, "bfloat16": wild})["equal"]  # same mean, but nothing is shown
    assert not compare({"float32": exact[:1], "bfloat16": exact[:1]})["equal"]


@pytest.mark.slow
def test_both_precisions_learn_the_known_values() -> None:
    """Uniform choice earns less than .1 of the best return in this process; 800 updates are a fifth of the check's."""
    for precision in ("float32", "bfloat16"):
        outcome = learn(0, precision, 800)  # type: ignore[arg-type]
        assert outcome.error < 0.7
        assert outcome.share > 0.85


# --- the whole


def test_an_interpreter_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="make bench-peers"):
        bench_training(TINY, peers=Path("/no/such/python"))


@pytest.mark.slow
def test_the_command_reports_every_figure(tmp_path: Path) -> None:
    """Tiny sizes, no peers: the published figures stand in and are marked as such."""
    sizes = ["--width", "8", "--batch", "16", "--replay", "50", "--seeds", "2", "--check-updates", "5"]
    quick = ["--rounds", "1", "--seconds", "0.01", "--patience", "0"]
    command = [sys.executable, "-m", "multimodal_dql", "bench", "training", "--threads", "2", "--json"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, *sizes, *quick],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=_environment(root),
    )
    result = json.loads(done.stdout)
    ours = result["updates_per_second"]
    assert set(ours) == {"float32", "bfloat16"}
    assert result["reference"] == REFERENCE[2] | {"measured": False}
    for precision, rate in ours.items():
        assert rate > 0
        assert result["ratio"][precision]["jax"] == pytest.approx(rate / 484, rel=0.02)
        assert result["products"]["share"][precision] > 0
    candidates = result["candidate_set"]
    assert candidates["updates_per_second"] > 0
    assert candidates["products_share"] > 0
    assert (candidates["candidates"], candidates["encoders"], candidates["members"]) == (20, 5, 1)
    assert result["learning_check"]["seeds"] == 2
    assert result["threads"] == 2
    assert (result["job"]["batch"], result["job"]["width"]) == (16, 8)


def _environment(root: Path) -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(root)}
