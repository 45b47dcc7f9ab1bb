"""The decider: the network's numbers without TensorFlow, from any thread."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimodal_dql.bench.decide import write_run
from multimodal_dql.decider import Decider
from tests.decider.networks import BASE_RATE, NETWORKS, TOLERANCE, R, batch, close, prepared, tensors_of


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 12))
def test_it_computes_what_the_network_computes(networks, deciders, scales, name, seed, k) -> None:
    network, decider = networks[name], deciders[name]
    x = batch(np.random.default_rng(seed), decider.sizes.widths, k, b=2)
    wanted = {part: value.numpy() for part, value in network(x).items()}
    for row in range(2):
        there = x["available"][row]
        kept = prepared(decider, x, row)
        q, rate = decider.q(kept, x["context"][row]), decider.click_rate(kept, x["context"][row])
        assert q.shape == rate.shape == (decider.sizes.members, k)
        assert close(q[:, there], wanted["q"][:, row, there], scales[name])
        logit = wanted["click_logit"][:, row, there] + network.base_logit
        # A rate is off by at most its logit's error times itself.
        error = np.abs(rate[:, there] * (1.0 + np.exp(-logit)) - 1.0).max()
        assert error <= TOLERANCE * max(1.0, np.abs(logit).max())
        assert (q[:, ~there] == -np.inf).all()
        assert (rate[:, ~there] == 0.0).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_hidden_is_the_networks_last_hidden_layer(networks, deciders, name, monkeypatch) -> None:
    network, decider = networks[name], deciders[name]
    x = batch(np.random.default_rng(5), decider.sizes.widths, 6)
    seen = []
    click = network.click
    monkeypatch.setattr(network, "click", lambda scored: (seen.append(scored.numpy()), click(scored))[1])
    network(x)
    hidden = decider.hidden(prepared(decider, x), x["context"][0])
    there = x["available"][0]
    wanted = seen[0][:, 0]
    if decider.sizes.members == 1:
        assert hidden.shape == (6, decider.sizes.hidden)
        wanted = wanted[0]
    assert close(hidden[..., there, :], wanted[..., there, :])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 9), padding=st.integers(1, 5))
def test_order_and_padding_change_nothing(deciders, scales, seed, k, padding) -> None:
    for name, decider in deciders.items():
        rng = np.random.default_rng(seed)
        x = batch(rng, decider.sizes.widths, k)
        context = x["context"][0]
        q = decider.q(prepared(decider, x), context)
        there = x["available"][0]

        order = rng.permutation(k)
        shuffled = {n: a if n == "context" else a[:, order] for n, a in x.items()}
        found = decider.q(prepared(decider, shuffled), context)
        assert close(found[:, there[order]], q[:, order][:, there[order]], scales[name])

        wide = {
            n: a if n == "context" else np.pad(a, ((0, 0), (0, padding)) + ((0, 0),) * (a.ndim - 2))
            for n, a in x.items()
        }
        found = decider.q(prepared(decider, wide), context)
        assert close(found[:, :k][:, there], q[:, there], scales[name])
        assert (found[:, k:] == -np.inf).all()


def test_refresh_renews_prepared_candidates(networks, deciders) -> None:
    network = networks["one member"]
    tensors = tensors_of(network)
    decider = Decider.from_tensors(tensors, BASE_RATE)
    x = batch(np.random.default_rng(2), (4, 3), 5)
    kept = prepared(decider, x)
    before = decider.q(kept, x["context"][0])
    rng = np.random.default_rng(3)
    other = {n: t + 0.1 * rng.standard_normal(t.shape).astype("float32") for n, t in tensors.items()}
    decider.refresh(other)
    after = decider.q(kept, x["context"][0])
    fresh = Decider.from_tensors(other, BASE_RATE)
    np.testing.assert_array_equal(after, fresh.q(prepared(fresh, x), x["context"][0]))
    assert not np.allclose(before, after, rtol=0.01)
    decider.refresh(tensors)
    np.testing.assert_array_equal(decider.q(kept, x["context"][0]), before)


def test_what_the_caller_changes_later_does_not_reach_the_decider(networks) -> None:
    tensors = tensors_of(networks["one member"])
    decider = Decider.from_tensors(tensors, BASE_RATE)
    x = batch(np.random.default_rng(2), (4, 3), 5)
    kept = prepared(decider, x)
    before = decider.q(kept, x["context"][0])
    for array in (*tensors.values(), x["content"], x["record"], x["present"]):
        np.multiply(array, 0.5, out=array)
    decider._local = threading.local()  # buffers are made anew from what it keeps
    kept.made = None
    np.testing.assert_array_equal(decider.q(kept, x["context"][0]), before)


@pytest.mark.parametrize("compiled", [False, True], ids=["numpy", "compiled"])
def test_eight_threads_get_what_one_gets(networks, compiled: bool) -> None:
    """Each asks for sets of several sizes by turns, prepared and raw, while a ninth renews the weights between two."""
    tensors = tensors_of(networks["one member"])
    other = {n: 0.9 * t for n, t in tensors.items()}
    decider = Decider.from_tensors(tensors, BASE_RATE, compiled=compiled)
    xs = [batch(np.random.default_rng(i), (4, 3), 2 + 3 * (i % 4)) for i in range(12)]
    kept = [prepared(decider, x) for x in xs]
    wanted = []
    for weights in (other, tensors):
        decider.refresh(weights)
        wanted.append([decider.q(p, x["context"][0]) for p, x in zip(kept, xs, strict=True)])
    wrong: list[int] = []
    ready, done = threading.Barrier(9), threading.Event()

    def ask(start: int) -> None:
        ready.wait()
        for turn in range(400):
            i = (start + turn) % len(xs)
            p = kept[i] if turn % 2 else prepared(decider, xs[i])
            q = decider.q(p, xs[i]["context"][0])
            if not any(np.array_equal(q, of[i]) for of in wanted):
                wrong.append(i)

    def renew() -> None:
        ready.wait()
        turn = 0
        while not done.is_set():
            turn += 1
            decider.refresh((tensors, other)[turn % 2])

    askers = [threading.Thread(target=ask, args=(start,)) for start in range(8)]
    renewer = threading.Thread(target=renew)
    for thread in (*askers, renewer):
        thread.start()
    for thread in askers:
        thread.join()
    done.set()
    renewer.join()
    assert not wrong


HEAVY = ("tensorflow", "keras", "scipy", "numba", "pydantic", "transformers")


def test_deciding_loads_neither_tensorflow_nor_anything_else_heavy(tmp_path: Path) -> None:
    write_run(tmp_path)
    code = f"""import json, sys
from pathlib import Path
import numpy as np
from multimodal_dql.decider import Decider
decider = Decider.load(Path({str(tmp_path)!r}))
found = decider.decide(np.ones((3, 64)), np.zeros(64), 0.5)
print(json.dumps([found, [name for name in {HEAVY!r} if name in sys.modules]]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (action, probability), loaded = json.loads(out.stdout)
    assert loaded == []
    assert action in range(3)
    assert 0.0 < probability <= 1.0


def test_a_saved_agent_decides_as_before(tmp_path: Path, networks) -> None:
    """Through the files of `Agent.save`; the click rates are those of the agent."""
    from multimodal_dql.agent import Agent
    from multimodal_dql.candidates import ContentProjection, EncoderProjection
    from multimodal_dql.context import ContextField, ContextSpec
    from multimodal_dql.state import State

    eye = np.eye(4, dtype=np.float32)
    projection = ContentProjection((EncoderProjection("minilm", "text", "f", np.zeros(4, np.float32), eye),))
    context = ContextSpec((ContextField("hour", "number", low=0.0, high=1.0),))
    agent = Agent.create(projection, context, BASE_RATE, {"hidden": 12, "members": 2, "audience": 5}, seed=3)
    agent.audience = np.array([[0.5]])
    rng = np.random.default_rng(1)
    for variable in agent.network.trainable_variables:
        variable.assign(variable + 0.3 * rng.standard_normal(variable.shape).astype("float32"))
    agent.save(tmp_path)
    decider = Decider.load(tmp_path)
    k, width = 5, context.width
    state = State(
        content=rng.standard_normal((1, k, 4)).astype("float32"),
        present=np.ones((1, k, 1), np.float32),
        record=rng.standard_normal((1, k, R)).astype("float32"),
        context=rng.standard_normal((1, width)).astype("float32"),
        available=np.array([[True, True, False, True, True]]),
        item=np.zeros(1, np.int64),
    )
    wanted = agent.estimate(state)
    np.testing.assert_array_equal(Agent.load(tmp_path).estimate(state).q, wanted.q)
    kept = decider.prepare(state.content[0], state.present[0], state.record[0], state.available[0])
    there = state.available[0]
    assert close(decider.q(kept, state.context[0])[:, there] * BASE_RATE, wanted.q[:, 0, there])
    assert close(decider.click_rate(kept, state.context[0]), wanted.click_rate[:, 0])


def test_without_a_head_the_members_vote(deciders) -> None:
    """4 members, floor .01: a candidate that m of them rank first gets .99 m / 4 + .01 / (number available)."""
    decider = deciders["ensemble"]
    x = batch(np.random.default_rng(4), decider.sizes.widths, 6)
    kept = prepared(decider, x)
    votes = np.bincount(decider.q(kept, x["context"][0]).argmax(axis=1), minlength=6)
    there = x["available"][0]
    wanted = 0.99 * votes / 4 + 0.01 * there / there.sum()
    np.testing.assert_allclose(decider.probabilities(kept, x["context"][0]), wanted, atol=1e-12)
