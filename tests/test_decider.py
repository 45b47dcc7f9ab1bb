"""The decider: the network's numbers without TensorFlow, from any thread, out of a run directory nobody vouches for."""

from __future__ import annotations

import hashlib
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
from multimodal_dql.decider import Decider, Prepared, ThompsonHead
from multimodal_dql.errors import RunError, UsageError

C, R = 5, 3
BASE_RATE = 0.02
NETWORKS = {
    "one member": {"widths": (4, 3), "hidden": 16, "members": 1},
    "one wide encoder": {"widths": (8,), "hidden": 64, "members": 1, "audience": 24},
    "ensemble": {"widths": (3, 5, 2), "hidden": 48, "members": 4},
    "ensemble, narrow audience": {"widths": (4, 3), "hidden": 16, "members": 3, "audience": 6},
}
TOLERANCE = 1e-5
"""Of float32 sums in another order, relative to the largest value."""


def tensors_of(network) -> dict[str, np.ndarray]:
    return {v.path: v.numpy() for v in network.weights if v.dtype == "float32"}


def batch(rng: np.random.Generator, widths: tuple[int, ...], k: int, b: int = 1) -> dict[str, np.ndarray]:
    """Decisions with holes: encoders that saw nothing, candidates that do not exist, but the first does."""
    available = rng.random((b, k)) < 0.7
    available[:, 0] = True
    return {
        "content": rng.standard_normal((b, k, sum(widths))).astype("float32"),
        "present": (rng.random((b, k, len(widths))) < 0.7).astype("float32"),
        "record": rng.standard_normal((b, k, R)).astype("float32"),
        "context": rng.standard_normal((b, C)).astype("float32"),
        "available": available,
    }


@pytest.fixture(scope="module")
def networks():
    """Networks with every weight away from its start: heads start at zero, norms at one, which would hide mistakes."""
    from multimodal_dql.network import CandidateQNetwork, NetworkConfig

    out = {}
    for seed, (name, shape) in enumerate(NETWORKS.items()):
        rng = np.random.default_rng(seed)
        config = NetworkConfig(context_width=C, record_width=R, base_rate=BASE_RATE, seed=seed, **shape)
        network = CandidateQNetwork(config)
        network(batch(rng, shape["widths"], 2))
        for variable in network.trainable_variables:
            variable.assign(variable + 0.3 * rng.standard_normal(variable.shape).astype("float32"))
        out[name] = network
    return out


@pytest.fixture(scope="module", params=[False, True], ids=["numpy", "compiled"])
def deciders(request, networks) -> dict[str, Decider]:
    return {
        name: Decider.from_tensors(tensors_of(network), BASE_RATE, compiled=request.param)
        for name, network in networks.items()
    }


@pytest.fixture(scope="module")
def decider(deciders) -> Decider:
    return deciders["one member"]


def prepared(decider: Decider, x: dict[str, np.ndarray], row: int = 0) -> Prepared:
    return decider.prepare(x["content"][row], x["present"][row], x["record"][row], x["available"][row])


def close(found: np.ndarray, wanted: np.ndarray, scale: float = 0.0) -> bool:
    return bool(np.abs(found - wanted).max() <= TOLERANCE * max(np.abs(wanted).max(), scale))


@pytest.fixture(scope="module")
def scales(networks) -> dict[str, float]:
    """The usual size of Q. Value and advantage may cancel in one decision; neither side is exact to that remainder."""
    out = {}
    for name, network in networks.items():
        q = network(batch(np.random.default_rng(0), NETWORKS[name]["widths"], 6, b=64))["q"].numpy()
        out[name] = float(np.median(np.abs(q).max(axis=(0, 2))))
    return out


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


def test_a_scale_below_zero_turns_the_pools_around(networks, scales) -> None:
    """FiLM scales far on both sides of zero, so that many a largest sibling becomes the smallest."""
    network = networks["one member"]
    tensors = tensors_of(network)
    name = "candidate_q_network/film/bias"
    old = network.film.bias.numpy()
    try:
        network.film.bias.assign(old - 1.0)
        x = batch(np.random.default_rng(3), (4, 3), 7)
        wanted = network(x)["q"].numpy()[:, 0]
    finally:
        network.film.bias.assign(old)
    for compiled in (False, True):
        decider = Decider.from_tensors(tensors | {name: old - 1.0}, BASE_RATE, compiled=compiled)
        there = x["available"][0]
        assert close(
            decider.q(prepared(decider, x), x["context"][0])[:, there], wanted[:, there], scales["one member"]
        )


def test_what_is_left_out_has_its_meaning(decider) -> None:
    """None: every encoder saw everything, nothing is recorded, everything is available."""
    x = batch(np.random.default_rng(8), decider.sizes.widths, 4)
    content, context = x["content"][0], x["context"][0]
    record = np.tile([0.0, 1.0, 0.0], (4, 1))
    full = decider.prepare(content, np.ones((4, 2)), record, np.ones(4, bool))
    np.testing.assert_array_equal(decider.q(decider.prepare(content), context), decider.q(full, context))


def test_no_record_is_what_the_state_says_of_no_impressions(decider) -> None:
    from multimodal_dql.state import record_features

    none = np.zeros((1, 3), np.int64)
    record = record_features(none, none, np.ones((1, 3), bool), BASE_RATE)[0]
    x = batch(np.random.default_rng(9), decider.sizes.widths, 3)
    content, context = x["content"][0], x["context"][0]
    np.testing.assert_array_equal(
        decider.q(decider.prepare(content), context),
        decider.q(decider.prepare(content, None, record), context),
    )


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
    from multimodal_dql.state import ContentProjection, ContextField, ContextSpec, EncoderProjection, State

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


def head_for(
    decider: Decider, signs: bool, samples: int = 16, seed: int = 0
) -> tuple[ThompsonHead, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = decider.sizes
    both = None
    if signs:
        both = tuple(np.sign(rng.standard_normal((width, 8))) for width in (n.content, n.context))
    products = 8 if signs else n.content * n.context
    weights = rng.standard_normal((1 + n.context + n.content + products + n.hidden, samples))
    return ThompsonHead.of(weights, n.context, n.content, n.hidden, both, floor=0.05), weights


@pytest.mark.parametrize("k", [3, 40], ids=["few", "many"])
@pytest.mark.parametrize("signs", [False, True], ids=["products", "signs"])
def test_a_head_decides_as_written_out(deciders, networks, signs: bool, k: int) -> None:
    """Features, scores and votes one by one in float64."""
    decider = deciders["one member"]
    head, weights = head_for(decider, signs)
    x = batch(np.random.default_rng(6), decider.sizes.widths, k)
    kept, context = prepared(decider, x), x["context"][0].astype(float)
    content, there = kept.content.astype(float), x["available"][0]
    hidden = decider.hidden(kept, x["context"][0]).astype(float)
    own = np.random.default_rng(7).standard_normal((k, 16)).astype("float32")
    scores = np.empty((k, 16))
    for i in range(k):
        if head.signs is None:
            products = [
                context[c] * content[i, p] for c in range(len(context)) for p in range(content.shape[1])
            ]
        else:
            w, v = head.signs[0].astype(float), head.signs[1].astype(float) * 8**0.5
            products = (content[i] @ w) * (context @ v) / 8**0.5
        phi = np.concatenate([[1.0], context, content[i], products, hidden[i]])
        scores[i] = phi @ weights + own[i] if there[i] else -np.inf
    # No two candidates so close that float32 could change the order.
    top = np.sort(scores, axis=0)
    assert k < 2 or (top[-1] - top[-2]).min() > 1e-3
    wanted = np.zeros(k)
    for s in range(16):
        wanted[scores[:, s].argmax()] += 0.95 / 16
    wanted[there] += 0.05 / there.sum()
    decider.refresh(head=head)
    try:
        found = decider.probabilities(kept, x["context"][0], own)
        np.testing.assert_allclose(found, wanted, atol=1e-12)
        alone = head.probabilities(kept.content, x["context"][0], hidden.astype("float32"), there, own)
        np.testing.assert_allclose(alone, wanted, atol=1e-12)
    finally:
        decider._state = (decider._state[0], None)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 30), u=st.floats(0, 1, exclude_max=True))
def test_probabilities_sum_to_one_and_the_draw_reports_its_own(deciders, seed, k, u) -> None:
    decider = deciders["one wide encoder"]
    head, _ = head_for(decider, signs=True, seed=seed % 5)
    decider.refresh(head=head)
    x = batch(np.random.default_rng(seed), decider.sizes.widths, k)
    kept = prepared(decider, x)
    p = decider.probabilities(kept, x["context"][0])
    there = x["available"][0]
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert (p[there] >= 0.05 / there.sum()).all()
    assert (p[~there] == 0.0).all()
    arrays = (x["content"][0], x["context"][0], u, x["present"][0], x["record"][0], there)
    action, probability = decider.decide(*arrays)
    assert (action, probability) == decider.decide(kept, x["context"][0], u)
    assert there[action]
    assert probability == p[action]
    # u lies where the cumulated probabilities pass it.
    assert p[:action].sum() <= u + 1e-12
    assert u <= p[: action + 1].sum() + 1e-12


def test_draws_follow_the_probabilities(decider) -> None:
    """20,000 even steps of u: each candidate is chosen its probability's share of them, to two steps."""
    from multimodal_dql.decider_head import draw

    p = np.array([0.125, 0.0, 0.5, 0.375, 0.0])
    actions = [draw(p, (i + 0.5) / 20_000)[0] for i in range(20_000)]
    np.testing.assert_allclose(np.bincount(actions, minlength=5) / 20_000, p, atol=1e-4)
    assert draw(p, np.nextafter(1.0, 0.0)) == (3, 0.375)
    assert draw(p, 0.0) == (0, 0.125)
    assert draw(np.array([0.0, 1.0]), 0.0) == (1, 1.0)


def test_the_first_of_equals_wins() -> None:
    from multimodal_dql.decider_compiled import COMPILED
    from multimodal_dql.decider_steps import NUMPY

    for steps in (NUMPY, COMPILED):
        scores = np.array([[9, 9], [1, 2], [1, 0], [0, 2]], np.float32)
        available = np.array([False, True, True, True])
        np.testing.assert_allclose(steps.vote(scores, available, 0.3), [0.0, 0.8, 0.1, 0.1])


@pytest.mark.parametrize("place", ["content", "context", "record"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_what_is_no_number_is_refused_not_decided(deciders, place: str, value: float) -> None:
    for name in ("one member", "ensemble"):
        decider = deciders[name]
        x = batch(np.random.default_rng(1), decider.sizes.widths, 4)
        x["present"][:] = 1.0
        x[place][0].flat[0] = value
        with pytest.raises(UsageError, match="NaN"):
            decider.decide(
                *(x[n][0] for n in ("content", "context")), 0.5, *(x[n][0] for n in ("present", "record"))
            )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"content": np.zeros((3, 6))},
            r"content has the shape \(3, 6\); this network takes \(K, P\) = \(K, 7\)",
        ),
        ({"content": np.zeros(7)}, "content"),
        ({"context": np.zeros(4)}, r"context has the shape \(4,\); this network takes \(C,\) = \(5,\)"),
        ({"context": np.zeros((1, 5))}, "context"),
        ({"context": 1.0}, "context"),
        ({"present": np.zeros((3, 1))}, "present"),
        ({"record": np.zeros((2, 3))}, "record"),
        ({"available": np.ones(2, bool)}, "available"),
        ({"available": np.zeros(3, bool)}, "no candidate is available"),
        ({"content": np.zeros((0, 7))}, "no candidate is available"),
    ],
)
def test_arrays_that_do_not_fit_are_named(decider, changed, told) -> None:
    asked = {"content": np.zeros((3, 7)), "context": np.zeros(5), "u": 0.5} | changed
    with pytest.raises(UsageError, match=told) as caught:
        decider.decide(**asked)
    assert "\n" not in caught.value.text("zh")


def test_candidates_prepared_for_another_network_are_refused(deciders) -> None:
    kept = deciders["one member"].prepare(np.zeros((3, 7)))
    with pytest.raises(UsageError, match="another shape"):
        deciders["ensemble, narrow audience"].q(kept, np.zeros(5))


def test_own_effects_of_another_shape_are_refused(networks) -> None:
    decider = Decider.from_tensors(tensors_of(networks["one member"]), BASE_RATE)
    decider.refresh(head=head_for(decider, signs=True)[0])
    for shape in ((16,), (3, 1), (2, 16)):
        with pytest.raises(UsageError, match="own"):
            decider.decide(np.zeros((3, 7)), np.zeros(5), 0.5, own=np.zeros(shape))


def test_a_head_for_another_network_is_refused(deciders) -> None:
    head, weights = head_for(deciders["one member"], signs=False)
    for other in ("one wide encoder", "ensemble"):
        with pytest.raises(UsageError, match="head"):
            deciders[other].refresh(head=head)
    with pytest.raises(UsageError, match="rows"):
        ThompsonHead.of(weights[:-1], 5, 7, 16)
    with pytest.raises(UsageError, match="floor"):
        ThompsonHead.of(weights, 5, 7, 16, floor=1.5)
    with pytest.raises(UsageError, match="signs"):
        ThompsonHead.of(weights, 5, 7, 16, (np.ones((7, 35)), np.ones((4, 35))))


def test_other_weights_are_refused_and_the_old_ones_kept(networks, deciders) -> None:
    tensors = tensors_of(networks["one member"])
    decider = Decider.from_tensors(tensors, BASE_RATE)
    state = decider._state
    without = {n: t for n, t in tensors.items() if "later" not in n}
    with pytest.raises(UsageError, match="decides by clicks"):
        Decider.from_tensors(without, BASE_RATE)
    with pytest.raises(UsageError, match="decides by clicks"):
        decider.refresh(tensors_of(networks["one wide encoder"]))
    assert decider._state is state


def alter(run: Path, **changes: object) -> None:
    """Change settings; ``network__hidden`` is ``hidden`` in ``network``; None removes."""
    config = json.loads((run / "config.json").read_text())
    for name, value in changes.items():
        *path, last = name.split("__")
        at = config
        for part in path:
            at = at[part]
        if value is None:
            at.pop(last)
        else:
            at[last] = value
    (run / "config.json").write_text(json.dumps(config))


def rewrite(run: Path, change) -> None:
    """Other weights under a hash that fits."""
    from safetensors.numpy import load, save

    tensors = load((run / "weights.safetensors").read_bytes())
    change(tensors)
    data = save(tensors)
    (run / "weights.safetensors").write_bytes(data)
    alter(run, weights_sha256=hashlib.sha256(data).hexdigest())


def _nan(tensors) -> None:
    tensors["network/candidate_q_network/fuse/bias"][0, 0] = np.nan


def _without_layer(tensors) -> None:
    tensors.pop("network/candidate_q_network/set_norm/gain")


def _other_shape(tensors) -> None:
    tensors["network/candidate_q_network/film/bias"] = np.zeros((1, 7), np.float32)


def _garbage(run: Path) -> None:
    data = b"\xff" * 64
    (run / "weights.safetensors").write_bytes(data)
    alter(run, weights_sha256=hashlib.sha256(data).hexdigest())


def _cut(run: Path) -> None:
    path = run / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


DAMAGE = {
    "no folder": lambda run: [path.unlink() for path in run.iterdir()],
    "no weights": lambda run: (run / "weights.safetensors").unlink(),
    "weights are a folder": lambda run: [
        (run / "weights.safetensors").unlink(),
        (run / "weights.safetensors").mkdir(),
    ],
    "weights cut short": _cut,
    "weights are garbage": _garbage,
    "weights not finite": lambda run: rewrite(run, _nan),
    "a layer is missing": lambda run: rewrite(run, _without_layer),
    "a layer of another shape": lambda run: rewrite(run, _other_shape),
    "not JSON": lambda run: (run / "config.json").write_text("{"),
    "a list": lambda run: (run / "config.json").write_text("[1]"),
    "a thousand brackets": lambda run: (run / "config.json").write_text("[" * 100_000),
    "infinite version": lambda run: (run / "config.json").write_text('{"schema_version": Infinity}'),
    "newer version": lambda run: alter(run, schema_version=99),
    "no network": lambda run: alter(run, network=None),
    "network is a list": lambda run: alter(run, network=[]),
    "another width": lambda run: alter(run, network__hidden=255),
    "a huge width": lambda run: alter(run, network__hidden=10**12),
    "a width that is true": lambda run: alter(run, network__members=True),
    "widths as text": lambda run: alter(run, network__widths="64"),
    "no widths": lambda run: alter(run, network__widths=[]),
    "another audience": lambda run: alter(run, network__audience=65),
    "base rate of nothing": lambda run: alter(run, base_rate=0.0),
    "base rate NaN": lambda run: alter(run, base_rate=float("nan")),
    "base rate as text": lambda run: alter(run, base_rate="0.02"),
    "no hash": lambda run: alter(run, weights_sha256=None),
    "another hash": lambda run: alter(run, weights_sha256="0" * 64),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_run_that_is_damaged_or_means_harm_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    write_run(tmp_path)
    Decider.load(tmp_path)
    DAMAGE[damage](tmp_path)
    with pytest.raises(RunError) as caught:
        Decider.load(tmp_path)
    for lang in ("en", "zh"):
        text = caught.value.text(lang)
        assert text
        assert "\n" not in text


def test_what_the_bench_writes_is_a_run_as_the_agent_reads_it(tmp_path: Path) -> None:
    from multimodal_dql.run_config import read_config

    write_run(tmp_path)
    config = read_config(tmp_path)
    assert (config.network.hidden, config.network.audience) == (256, 64)
