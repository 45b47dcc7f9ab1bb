"""``encoders`` and the cards of ``datasets``: listed, shown, added, checked, and ranked with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from multimodal_dql.report.neighbours import nearest
from tests.commands.refusals import assert_refused
from tests.conftest import Call, Done, run_command
from tests.encoders import tiny
from tests.encoders.hostile import assert_chinese
from tests.encoders.hub_server import COMMIT, HubServer
from tests.encoders.toys import write_card


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of cards of one's own."""
    monkeypatch.setenv("MULTIMODAL_DQL_CARDS", str(tmp_path / "user-cards"))
    monkeypatch.setattr("multimodal_dql.encoders.paths._extra", [])
    return tmp_path / "user-cards"


def test_names_are_listed_and_shown(call: Call, own: Path) -> None:
    listed = {e["name"]: e for e in json.loads(call("encoders", "list", "--json").out)["encoders"]}
    assert {"use-multilingual", "minilm", "efficientnet-lite0", "speech-embedding"} <= set(listed)
    for name in listed:
        card = json.loads(call("encoders", "show", name).out)
        assert card["name"] == name
    for data in json.loads(call("datasets", "list", "--json").out)["datasets"]:
        assert json.loads(call("datasets", "show", data["name"]).out)["name"] == data["name"]
    assert "librosa-descriptors" in call("encoders", "list").out
    assert listed["librosa-descriptors"]["state"] == "installed"
    assert listed["universal-sentence-encoder"]["state"] == "needs the network"
    assert "需要联网" in call("encoders", "list", "--lang", "zh").out


def test_a_repository_is_fetched_once_and_needs_no_network_afterwards(tmp_path: Path) -> None:
    source = '{ kind = "huggingface", repository = "me/model", revision = "first-fetch", path = "onnx/model.onnx" }'
    body = 'modality = "image"\nruntime = "onnx"\ndim = 5\n[preprocessing]\nside = 8\n'
    body += f'[[files]]\nname = "model.onnx"\nsha256 = "first-fetch"\nsources = [{source}]\n'
    write_card(tmp_path / "user-cards", "mine", body)
    env = {"MULTIMODAL_DQL_CARDS": str(tmp_path / "user-cards")}

    def run(*args: object) -> Done:
        return run_command("encoders", *args, cache=tmp_path / "cache", **env)

    with HubServer() as hub:
        hub.repositories["me/model"] = {"onnx/model.onnx": tiny.image_onnx()}
        env |= hub.environment(tmp_path / "hub")
        assert_refused(run("check", "mine"), "encoders fetch mine")
        done = run("fetch", "mine")
        assert done.code == 0, done.err
    assert run("check", "mine", "--json").code == 0
    listed = {e["name"]: e["state"] for e in json.loads(run("list", "--json").out)["encoders"]}
    assert listed["mine"] == "cached"
    pins = json.loads((tmp_path / "user-cards/.pins/mine.json").read_text())
    assert pins["files"]["model.onnx"]["revision"] == COMMIT


CONNECTED = (
    *(
        "clip-vit-b32-image",
        "clip-vit-b32-text",
        "siglip2-base-image",
        "siglip2-base-text",
        "chinese-clip-image",
    ),
    *("chinese-clip-text", "multilingual-e5-small", "dinov2-small", "yamnet", "clap-audio", "clap-text"),
    *("wav2vec2-base", "universal-sentence-encoder", "mobilenet-v3-large"),
)


@pytest.mark.parametrize("name", CONNECTED)
def test_a_connected_model_says_what_it_needs_without_asking_the_network(
    call: Call, own: Path, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert_refused(call("encoders", "check", name), "network", f"encoders fetch {name}")


@pytest.mark.slow
def test_an_encoder_is_checked(call: Call, stories: Path, tmp_path: Path) -> None:
    done = call(
        "encoders", "check", "librosa-descriptors", "--catalogue", stories, "--out", tmp_path, "--json"
    )
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert len(said["passed"]) >= 8
    assert said["items_per_second"] > 0
    assert said["peak_megabytes"] > 50
    page = (tmp_path / "librosa-descriptors.html").read_text("utf-8")
    assert page.count("<audio") == 4  # two tones, each beside the other
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_the_nearest_are_those_of_the_largest_cosine() -> None:
    vectors = np.array([[1, 0], [0, 1], [2, 0.1], [1, 1]], np.float32)
    assert nearest(vectors, 2).tolist() == [[2, 3], [3, 2], [0, 3], [2, 0]]


@pytest.mark.slow
def test_an_onnx_file_is_added_and_ranked_with(stories: Path, tmp_path: Path) -> None:
    """A user's way: add a model, look at it, train with it, rank by it, each in a process of its own."""
    (tmp_path / "colours.onnx").write_bytes(tiny.image_onnx())
    env = {"MULTIMODAL_DQL_CARDS": str(tmp_path / "user-cards")}

    def run(*args: object) -> str:
        done = run_command(*args, cache=tmp_path / "cache", **env)
        assert done.code == 0, done.err
        return done.out

    added = json.loads(run("encoders", "add", tmp_path / "colours.onnx", "--licence", "MIT", "--json"))
    assert (added["dim"], added["modality"], added["assumed"]) == (5, "image", {"mean": 0.0, "scale": 255.0})
    sheet = tmp_path / "sheet"
    run("encoders", "check", "colours", "--catalogue", stories, "--out", sheet)
    assert (sheet / "colours.html").read_text("utf-8").count(
        "<img"
    ) == 9  # three pictures, beside each the other two
    run_dir = tmp_path / "run"
    few = ("--iterations", 1, "--sessions", 100, "--encoders", "colours,librosa-descriptors")
    run("train", stories, "--out", run_dir, *few)
    ranking = json.loads(run("rank", stories, "--agent", run_dir, "--json"))
    assert ranking["items"]
    assert "colours" in json.dumps(ranking)


@pytest.mark.slow
def test_a_repository_is_added_and_used(tmp_path: Path) -> None:
    """The hub is asked once, by `add`; it is gone when the model is used."""
    env = {"MULTIMODAL_DQL_CARDS": str(tmp_path / "user-cards")}
    with HubServer() as hub:
        hub.add_folder("me/tiny-bert", tiny.text_folder(tmp_path / "published"))
        env |= hub.environment(tmp_path / "hub")
        done = run_command(
            "encoders", "add", "me/tiny-bert", "--json", "--space", "mine", cache=tmp_path / "cache", **env
        )
    assert done.code == 0, done.err
    added = json.loads(done.out)
    assert (added["name"], added["dim"], added["licence"], added["space"]) == ("tiny-bert", 3, "MIT", "mine")
    assert "no encoder of another modality is in the space 'mine' yet" in done.err
    again = ("encoders", "add", "me/tiny-bert", "--name", "again", "--lang", "zh")
    refused = run_command(*again, cache=tmp_path / "cache", **env)
    assert_refused(refused, "hf download me/tiny-bert --local-dir again", "请重试")

    checked = run_command("encoders", "check", "tiny-bert", cache=tmp_path / "cache", **env)
    assert "batch_invariant" in checked.out, checked.err
    folder = tiny.image_folder(tmp_path / "see")
    for command in (("add", folder), ("check", "see")):
        quiet = run_command("encoders", *command, "--lang", "zh", cache=tmp_path / "cache", **env)
        assert quiet.code == 0
        for line in quiet.lines:  # transformers would regret in English that there is no PyTorch
            assert_chinese(line)


def test_encoders_of_one_space_agree_on_its_length(call: Call, own: Path, tmp_path: Path) -> None:
    (tmp_path / "see.onnx").write_bytes(tiny.image_onnx())
    (tmp_path / "see3.onnx").write_bytes(tiny.image_onnx(kernel=tiny.KERNEL[:, :3]))
    tiny.text_folder(tmp_path / "words")
    common = ("--licence", "MIT", "--space", "mine", "--json")
    assert call("encoders", "add", tmp_path / "words", *common).code == 0
    refused = call("encoders", "add", tmp_path / "see.onnx", *common)
    assert_refused(refused, "cannot share the space 'mine' with 'words': 5 numbers against 3")
    assert not (own / "see").exists()
    added = call("encoders", "add", tmp_path / "see3.onnx", *common)
    assert "no encoder of another modality" not in added.err
    assert json.loads(call("encoders", "show", "see3").out)["space"] == "mine"


def test_in_chinese_every_line_is_chinese(
    call: Call, own: Path, tmp_path: Path, install: Callable[..., None]
) -> None:
    """But for names, commands and what a person writes into a card."""
    (tmp_path / "hear.onnx").write_bytes(tiny.audio_onnx())
    module = "from multimodal_dql.encoders import Encoder\nclass A(Encoder):\n    "
    module += (
        "name, modality, dim, fingerprint = 'fine', 'text', 2, '1'\n    def encode(self, items): return []\n"
    )
    install("toy_plug_ins", module, fine="toy_plug_ins:A", lost="toy_plug_ins:B", other="toy_plug_ins:A")
    zh = ("--lang", "zh")
    said = [
        call("encoders", "add", tmp_path / "hear.onnx", "--licence", "MIT", "--space", "s", *zh),
        call("encoders", "list", *zh),
        call("encoders", "show", "fine", *zh),
        call("encoders", "check", "hear", *zh),
        call("encoders", "check", "fine", *zh),
        call("encoders", "check", "yamnet", *zh),
        call("encoders", "fetch", "hear", *zh),
        call("encoders", "fetch", "nothing", *zh),
    ]
    assert [done.code for done in said] == [0, 0, 0, 0, 2, 2, 0, 2]
    card = (own / "hear/card.toml").read_text()
    (own / "hear/card.toml").write_text(card.replace("dim = 2", 'dim = "two"\nsize = 1'))
    said.append(call("encoders", "list", *zh))
    (tmp_path / "hear.onnx").write_bytes(b"changed")
    (own / "hear/card.toml").write_text(card)
    said.append(call("encoders", "check", "hear", *zh))
    for line in (line for done in said for line in done.err.splitlines()):
        assert_chinese(line, library="AttributeError" in line)
    tables = "\n".join(done.out for done in said)
    for word in ("编码器", "状态", "许可证", "不受邻居影响", "内存峰值", "插件类"):
        assert word in tables
    for word in ("state", "licence", "batch_invariant", "plug-in"):
        assert word not in tables


@pytest.mark.slow
def test_a_saved_model_in_a_folder_of_cards_is_ranked_with(
    call: Call, own: Path, stories: Path, cache: Path, tmp_path: Path
) -> None:
    tiny.saved_model(tmp_path / "counts")

    def run(*args: object) -> str:
        done = call(*args)
        assert done.code == 0, done.err
        return done.out

    cards = tmp_path / "project"
    run("encoders", "add", tmp_path / "counts", "--out", cards)
    assert not own.exists()
    encoded = json.loads(run("encode", stories, "--encoders", f"{cards},librosa-descriptors", "--json"))
    assert [e["name"] for e in encoded["encoders"]] == ["counts", "librosa-descriptors"]
    few = ("--iterations", 1, "--sessions", 100)
    run("train", stories, "--out", tmp_path / "run", "--encoders", f"{cards}/counts", *few)
    # A process of its own has not heard of the folder.
    refused = run_command("rank", stories, "--agent", tmp_path / "run", cache=cache)
    assert_refused(refused, "no encoder called 'counts'")
    ranking = run("rank", stories, "--agent", tmp_path / "run", "--encoders", str(cards), "--json")
    assert "counts" in ranking


def test_a_project_names_its_cards(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(tiny.audio_onnx())
    (tmp_path / "pyproject.toml").write_text('[tool.multimodal-dql]\nencoders = ["models"]\n')
    env = {**os.environ, "MULTIMODAL_DQL_CACHE": str(cache), "PYTHONPATH": str(Path(__file__).parents[2])}

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "multimodal_dql", *args]
        return subprocess.run(command, check=False, cwd=tmp_path, env=env, capture_output=True, text=True)

    assert run("encoders", "add", "m.onnx", "--licence", "MIT", "--out", "models").returncode == 0
    assert json.loads(run("encoders", "show", "m").stdout)["dim"] == 2
    (tmp_path / "pyproject.toml").write_text('[tool.multimodal-dql]\nencoders = "models"\n')
    done = run("encoders", "show", "m")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert 'write [tool.multimodal-dql] encoders = ["folder of cards"]' in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("add", "no-such-model"), "there is no file or folder no-such-model"),
        (("add", "m.onnx", "--name", "minilm"), "this name is taken"),
        (("add", "m.onnx", "--name", "Ab/c"), "a name is made of"),
        (("add", "m.onnx"), "--licence Apache-2.0"),
        (("add", "m.onnx", "--modality", "pictures"), "no modality called 'pictures'"),
        (("add", "m.onnx", "--set", "side"), "write NAME=VALUE"),
        (("add", "m.onnx", "--licence", "MIT", "--set", "side=0"), "write pixels from 1 to 4096"),
        (("add", "m.onnx", "--licence", "MIT", "--set", "colours=cmyk"), "one of rgb, bgr"),
        (("add", "m.onnx", "--licence", "MIT", "--set", "mean=[1, 2]"), "write one number, or three"),
        (("add", "m.onnx", "--licence", "MIT", "--set", "output=logits"), "name one as preprocessing.output"),
        (("add", "m.onnx", "--licence", "$(touch x)"), "licence"),
        (("add", "m.bin"), "convert it: python -c"),
        (("add", "."), "is no model that is known here"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_added_is_one_line(
    call: Call, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").write_bytes(tiny.image_onnx())
    (tmp_path / "m.bin").write_bytes(b"\x80\x02")
    (tmp_path / "n.onnx").write_bytes(b"")
    assert_refused(call("encoders", *args), words)
    assert not own.exists()


def test_a_folder_without_cards_is_refused(call: Call, own: Path, stories: Path, tmp_path: Path) -> None:
    assert_refused(call("encode", stories, "--encoders", f"{tmp_path}/"), "holds no card.toml")
