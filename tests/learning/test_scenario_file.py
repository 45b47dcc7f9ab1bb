"""A trained policy on disk: the same choices after loading, and one clear line for whatever is not such a policy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multimodal_dql.errors import RunError
from multimodal_dql.learning.observations import ObservationAdapter
from multimodal_dql.learning.scenario_agent import ScenarioAgent
from multimodal_dql.network import CandidateQNetwork, NetworkConfig


def observations(
    n: int = 5, k: int = 3, repeats: int = 1, content: bool = True, seed: int = 0
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    told = {
        "mask": np.ones((n, k * repeats), np.int8),
        "counts": rng.normal(size=(n, k, 2)).astype(np.float32),
        "time": rng.random((n, 1)).astype(np.float32),
    }
    told["mask"][:, 0] = rng.integers(0, 2, n)
    return told | ({"content": rng.normal(size=(n, k, 4)).astype(np.float32)} if content else {})


def agent(told: dict[str, Any], **form: Any) -> ScenarioAgent:
    adapter = ObservationAdapter.fit([told])
    config = NetworkConfig(
        (adapter.content_width,), len(adapter.context_mean), len(adapter.record_mean), 0.5, hidden=6, members=2,
        modality_dropout=0.0, content_noise=0.0, **form,
    )  # fmt: skip
    network = CandidateQNetwork(config)
    network(adapter.inputs(told))
    for i, v in enumerate(network.trainable_variables):
        v.assign(v + np.random.default_rng(i).normal(scale=0.1, size=v.shape))
    return ScenarioAgent(network, adapter, 0.25, 16, facts={"scenario": "试验", "seed": 3})


FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "content": ({}, {"advantage": "whole", "value_scale": 8.0}),
    "two things to do with each": ({"repeats": 2}, {"advantage": "reward_and_later"}),
    "no content": ({"content": False}, {"advantage": "reward_and_linear"}),
    "prices": ({}, {"advantage": "reward_and_price"}),
    "bins": ({}, {"advantage": "whole", "bins": 11, "bin_high": 3.0}),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_loaded_policy_decides_by_the_same_numbers(name: str, tmp_path: Path) -> None:
    shape, form = FORMS[name]
    told = observations(**shape)
    made = agent(told, **form)
    made.save(tmp_path / "policy")
    found = ScenarioAgent.load(tmp_path / "policy", told)
    other = observations(**shape, n=40, seed=1)
    np.testing.assert_array_equal(found.q_values(other), made.q_values(other))
    assert (found.facts, found.unit, found.batch) == (made.facts, made.unit, made.batch)
    made.network.value.bias.assign(made.network.value.bias + 1.0)
    made.save(tmp_path / "policy")  # over the old one
    np.testing.assert_array_equal(
        ScenarioAgent.load(tmp_path / "policy").q_values(other), made.q_values(other)
    )


def _edit(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        data = json.loads((folder / "config.json").read_text())
        for name, value in changes.items():
            part, _, key = name.partition("__")
            if key:
                data[part][key] = value
            else:
                data[part] = value
        (folder / "config.json").write_text(json.dumps(data))

    return edit


def _flip(folder: Path) -> None:
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nothing": (lambda f: (f / "config.json").unlink(), "holds no saved policy"),
    "half a configuration": (lambda f: (f / "config.json").write_text("{"), "config.json is not complete"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "config.json is not complete"),
    "another thing": (_edit(kind="agent"), "is something else than a saved policy"),
    "a newer version": (_edit(schema_version=99), "newer version"),
    "altered weights": (_flip, "weights and configuration do not match"),
    "no weights": (lambda f: (f / "weights.safetensors").unlink(), "weights and configuration do not match"),
    "a larger network": (_edit(network__hidden=7), "weights and configuration do not match"),
    "a huge network": (_edit(network__hidden=10**9), "config.json, network.hidden"),
    "more members": (_edit(network__members=3), "weights and configuration do not match"),
    "another content": (_edit(adapter__content_width=9), "a damaged policy"),
    "a wider record": (_edit(network__record_width=9), "weights and configuration do not match"),
    "no unit": (_edit(unit=0), "config.json, unit"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    damage, words = DAMAGE[name]
    agent(observations(), advantage="whole").save(tmp_path)
    damage(tmp_path)
    with pytest.raises(RunError, match=words) as refused:
        ScenarioAgent.load(tmp_path)
    assert "\n" not in refused.value.text("en") + refused.value.text("zh")


def test_a_policy_for_other_observations_is_refused(tmp_path: Path) -> None:
    agent(observations(), advantage="whole").save(tmp_path)
    for other in (observations(k=4), observations(content=False), observations(repeats=2)):
        with pytest.raises(RunError, match="for other observations than those of this environment"):
            ScenarioAgent.load(tmp_path, other)
    ScenarioAgent.load(tmp_path, observations(n=9, seed=2))
