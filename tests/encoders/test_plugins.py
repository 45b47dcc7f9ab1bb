"""Plug-ins of other packages: good ones are used, broken ones are named in one line and cost only themselves."""

import json
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from multimodal_dql.encoders import checks, registry
from multimodal_dql.encoders.checks import check_encoder
from multimodal_dql.encoders.registry import (
    encoder_info,
    encoder_names,
    encoder_problems,
    encoder_states,
    load_encoder,
)
from multimodal_dql.errors import EncoderError
from multimodal_dql.features import features
from tests.conftest import run_command

pytestmark = pytest.mark.usefixtures("shared_graphs")

ROOT = Path(__file__).parents[2]

TOY = """import itertools, time
import numpy as np
from multimodal_dql.encoders import Encoder, check_texts

calls = itertools.count()

class Toy(Encoder):
    name, modality, dim, fingerprint = "toy", "text", 2, "toy-1"

    def encode(self, items):
        return np.array([[len(t), t.count(" ")] for t in check_texts("toy", items)], np.float32).reshape(-1, 2)
"""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr("multimodal_dql.encoders.plugins._stuck", {})
    monkeypatch.setenv("MULTIMODAL_DQL_CARDS", str(tmp_path / "user-cards"))


def toy(body):
    """The source of a package with `Toy` and a class `Bad` derived from it."""
    return (
        TOY + "\nclass Bad(Toy):\n    name = 'bad'\n" + "".join(f"    {line}\n" for line in body.splitlines())
    )


def problem():
    """The one line about the one plug-in that is broken; everything else is listed."""
    (found,) = encoder_problems()
    names = {info.name for info, _ in encoder_states()}
    assert "minilm" in names
    assert "\n" not in str(found)
    return str(found)


def test_a_plug_in_is_found_through_its_entry_point(install):
    install("nice_plugin", TOY, toy="nice_plugin:Toy")
    assert load_encoder("toy").encode(["abc"]).tolist() == [[3, 0]]
    assert encoder_problems() == []
    assert ("toy", "installed") in [(info.name, state) for info, state in encoder_states()]


# What happens when it is imported or made: named by the list of all encoders, too.
AT_ONCE = {
    "a missing library": ("import no_such_library\n", "ModuleNotFoundError.*no_such_library"),
    "a syntax error": ("class Bad(\n", "SyntaxError"),
    "leaves the program": ("import sys\nsys.exit('bye')\n", "SystemExit: bye"),
    "raises over many lines": ("raise ValueError('one\\ntwo' + 'x' * 5000)\n", "one twox{100}"),
    "no such class": ("x = 1\n", "AttributeError"),
    "no encoder": ("Bad = dict\n", "leads to dict"),
    "another name": (TOY + "Bad = Toy\n", "leads to an encoder called 'toy'"),
    "an unknown modality": (
        toy("modality = 'video'"),
        "its modality is 'video', not one of image, text, audio",
    ),
    "no dimension": (toy("dim = 0"), "its dim is 0"),
    "a dimension that is no number": (toy("dim = '2'"), "its dim is '2'"),
    "no fingerprint": (toy("fingerprint = ''"), "its fingerprint is ''"),
    "facts that fail": (
        toy("@property\ndef dim(self):\n    raise OSError('no weights')"),
        "OSError: no weights",
    ),
    "no encode": (
        "from multimodal_dql.encoders import Encoder\nclass Bad(Encoder):\n    name, dim = 'bad', 2\n",
        "TypeError.*encode",
    ),
}


@pytest.mark.parametrize("what", AT_ONCE)
def test_one_that_cannot_be_loaded_is_named_and_costs_only_itself(install, what):
    module, words = AT_ONCE[what]
    install("bad_plugin", module, bad="bad_plugin:Bad")
    assert "bad" in encoder_names()
    assert encoder_info("minilm").dim == 384
    with pytest.raises(EncoderError, match=rf"^encoder 'bad': .*{words}"):
        load_encoder("bad")
    assert re.search(words, problem())
    assert len(problem()) < 500


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "def __init__(self):\n    raise MemoryError('too big')",
            r"bad_plugin cannot be loaded \(MemoryError: too big",
        ),
        (
            "def __init__(self):\n    self.dim = 3",
            r"its class says \(bad, text, 2, toy-1\), the encoder it makes",
        ),
        ("def __init__(self):\n    self.modality = 'image'", "its class says"),
    ],
)
def test_one_that_fails_when_made_is_named_by_whoever_uses_it(install, body, words):
    install("bad_plugin", toy(body), bad="bad_plugin:Bad")
    with pytest.raises(EncoderError, match=words):
        load_encoder("bad")


def test_one_that_does_not_finish_its_import_is_left_behind(install, monkeypatch):
    monkeypatch.setattr(registry, "LISTING_SECONDS", 0.2)
    install("slow_plugin", "import threading\nthreading.Event().wait(60)\n", bad="slow_plugin:Bad")
    assert "slow_plugin has not loaded after 0.2 s; update or uninstall it" in problem()


def test_what_one_prints_does_not_reach_the_result(install, capsys):
    install("chatty_plugin", "print('hello')\n" + TOY, toy="chatty_plugin:Toy")
    assert encoder_info("toy").dim == 2
    assert capsys.readouterr() == ("", "hello\n")


def test_one_cannot_replace_a_built_in_and_is_told(install):
    install("greedy_plugin", TOY, minilm="greedy_plugin:Toy")
    assert encoder_info("minilm").dim == 384
    assert "greedy_plugin has the name of a card" in problem()


def test_a_name_that_two_packages_offer_leads_to_neither(install):
    install("one_plugin", TOY, toy="one_plugin:Toy")
    install("two_plugin", TOY, toy="two_plugin:Toy")
    words = "one_plugin and two_plugin each have a plug-in of this name, so neither is used; uninstall one"
    with pytest.raises(EncoderError, match=words):
        load_encoder("toy")
    assert words in problem()


# What happens when it encodes: (body, the check that finds it, what a run that uses it says; None: it cannot know).
IN_USE = {
    "raises": ("def encode(self, items):\n    raise KeyError('vocab')", "shape|pace", "KeyError: 'vocab'"),
    "leaves the program": (
        "def encode(self, items):\n    raise SystemExit(3)",
        "SystemExit: 3",
        "SystemExit: 3",
    ),
    "wrong shape": (
        "def encode(self, items):\n    return super().encode(items).T",
        "shape",
        r"it gave \(2, \d\) inst",
    ),
    "dim a lie": ("dim = 3", "shape", r"it gave \(\d, 2\) instead of \(\d, 3\)"),
    "no array": (
        "def encode(self, items):\n    return super().encode(items).tolist()",
        "shape",
        "it gave list instead",
    ),
    "NaN": (
        "def encode(self, items):\n    return super().encode(items) * np.nan",
        "dtype|finite",
        "NaN or infinity",
    ),
    "nondeterministic": (
        "def encode(self, items):\n    return super().encode(items) + np.float32(next(calls))",
        "deterministic",
        None,
    ),
    "another modality": (
        "def encode(self, items):\n    return np.array([i.mean(axis=(0, 1))[:2] for i in items], np.float32)",
        "AttributeError",
        "AttributeError",
    ),
}


@pytest.mark.parametrize("what", IN_USE)
def test_one_that_breaks_the_contract_is_named_and_other_runs_go_on(install, what, catalogue, tmp_path):
    body, check, said = IN_USE[what]
    install("bad_plugin", toy(body), bad="bad_plugin:Bad", toy="bad_plugin:Toy")
    assert encoder_problems() == []
    with pytest.raises(EncoderError, match=rf"^encoder 'bad': it breaks the contract: .*({check})"):
        check_encoder(load_encoder("bad"))
    if said is not None:
        with pytest.raises(
            EncoderError, match=rf"^encoder 'bad': it failed on all of the first .*{said}"
        ) as error:
            features(catalogue, ["toy", "bad"], cache=tmp_path / "cache")
        assert "\n" not in str(error.value)
        assert "encoders check bad" in str(error.value)
    made = features(catalogue, ["toy"], cache=tmp_path / "cache")
    assert made.present["toy"].all()


def test_one_that_hangs_is_named(install, monkeypatch):
    monkeypatch.setattr(checks, "SLOWEST_SECONDS", 0.2)
    body = "def encode(self, items):\n    import threading\n    threading.Event().wait(60)"
    install("bad_plugin", toy(body), bad="bad_plugin:Bad")
    with pytest.raises(EncoderError, match=r"^encoder 'bad': .*pace: one item takes more than 0\.2 s"):
        check_encoder(load_encoder("bad"))


def test_the_list_names_the_broken_and_goes_on(install, call):
    install("bad_plugin", "import no_such_library\n", bad="bad_plugin:Bad")
    done = call("encoders", "list", "--json")
    assert done.code == 0
    said = json.loads(done.out)
    assert "minilm" in {e["name"] for e in said["encoders"]}
    assert [p["name"] for p in said["problems"]] == ["bad"]
    assert done.lines == [f"encoder 'bad': {said['problems'][0]['detail']}"]


def test_a_slow_one_passes_and_is_told(install, call, monkeypatch):
    monkeypatch.setattr("multimodal_dql.commands.encoders._SLOW", float("inf"))
    install("nice_plugin", TOY, toy="nice_plugin:Toy")
    done = call("encoders", "check", "toy", "--json")
    assert done.code == 0, done.err
    assert "10,000 items take" in done.err
    assert json.loads(done.out)["items_per_second"] > 0


def documented():
    """File name -> text of the example package, out of the page that shows it."""
    page = (ROOT / "docs" / "encoders.md").read_text("utf-8")
    part = page[page.index("## A class of your own") :]
    return dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", part, re.DOTALL)[:2])


def test_the_documented_package_is_short():
    files = documented()
    assert set(files) == {"pyproject.toml", "brightness_encoder.py"}
    assert sum(len(text.splitlines()) for text in files.values()) < 40
    points = tomllib.loads(files["pyproject.toml"])["project"]["entry-points"]
    assert points == {"multimodal_dql.encoders": {"brightness": "brightness_encoder:Brightness"}}


def test_the_readme_shows_the_same_class():
    code = documented()["brightness_encoder.py"]
    for readme in ("README.md", "README.zh-CN.md"):
        (block,) = re.findall(
            r"```python\n(class Brightness.*?)```", (ROOT / readme).read_text("utf-8"), re.DOTALL
        )
        assert re.sub(r"  #.*", "", block) in re.sub(r"  #.*", "", code), readme


IN_TURN = """
import json, sys
from multimodal_dql.__main__ import main
for command in json.loads(sys.argv[1]):
    sys.argv = ["multimodal-dql", *command]
    try:
        main()
    except SystemExit as left:
        if left.code:
            raise
"""


@pytest.mark.slow
def test_the_documented_package_is_built_installed_and_used(stories, tmp_path, cache):
    """In a new environment on top of this one: its own packages, then the checkout, then what is installed here."""
    package, env = tmp_path / "brightness", tmp_path / "env"
    package.mkdir()
    for name, text in documented().items():
        (package / name).write_text(text, "utf-8")
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(package),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(env, with_pip=False)
    (site,) = env.glob("lib/python*/site-packages")
    below = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    (site / "below.pth").write_text("\n".join(below) + "\n")
    python = env / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)

    few = ("--iterations", 1, "--sessions", 100)
    commands = [
        ("encoders", "list"),
        ("encoders", "check", "brightness"),
        ("encode", stories, "--encoders", "brightness"),
        ("train", stories, "--encoders", "brightness,librosa-descriptors", "--out", tmp_path / "run", *few),
        ("rank", stories, "--agent", tmp_path / "run"),
    ]
    here = {**os.environ, "MULTIMODAL_DQL_CACHE": str(cache)}
    lines = json.dumps([[*map(str, command), "--json"] for command in commands])
    done = subprocess.run(
        [python, "-c", IN_TURN, lines],
        check=False,
        cwd=tmp_path,
        env=here,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    listed, checked, encoded, _, ranked = map(json.loads, done.stdout.splitlines())
    assert {"name": "brightness", "modality": "image", "dim": 2, "state": "installed"} in listed["encoders"]
    assert listed["problems"] == []
    assert len(checked["passed"]) == len(list(checks.iter_checks()))
    assert encoded["encoded"] == 3
    assert "brightness" in ranked["agent"]["encoders"]
    assert {item["item_id"] for item in ranked["items"]} == {"彗星", "noodles", "القطار", "tea"}
    outside = run_command("encoders", "show", "brightness", cache=cache)
    assert "no encoder called 'brightness'" in outside.err


@pytest.fixture
def catalogue(tmp_path):
    """Three stories with headlines of several lengths."""
    from multimodal_dql.datasets.catalogue import Catalogue, Item, Variant

    items = [
        Item(s, tuple(Variant(s, v, None, f"{s} {v} {'word ' * n}", None) for n, v in enumerate("ab")))
        for s in ("one", "two", "three")
    ]
    return Catalogue(tmp_path / "c.csv", tuple(items))
