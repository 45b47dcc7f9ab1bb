"""``encoders`` and the cards of ``datasets``: listed, shown, checked."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Call


def test_names_are_listed_and_shown(call: Call) -> None:
    names = [e["name"] for e in json.loads(call("encoders", "list", "--json").out)["encoders"]]
    assert {"use-multilingual", "minilm", "efficientnet-lite0", "speech-embedding"} <= set(names)
    for name in names:
        card = json.loads(call("encoders", "show", name).out)
        assert card["name"] == name
    for data in json.loads(call("datasets", "list", "--json").out)["datasets"]:
        assert json.loads(call("datasets", "show", data["name"]).out)["name"] == data["name"]
    assert "librosa-descriptors" in call("encoders", "list").out


@pytest.mark.slow
def test_an_encoder_is_checked(call: Call) -> None:
    done = call("encoders", "check", "librosa-descriptors", "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["passed"]) >= 8
