import json
import subprocess
import sys

import numpy as np
import pytest

from multimodal_dql.encoders.cards import card_paths, read_card
from multimodal_dql.encoders.paths import cache_root
from multimodal_dql.encoders.registry import load_encoder
from multimodal_dql.encoders.runtimes import litert_image
from multimodal_dql.encoders.runtimes.litert_image import LiteRTImageEncoder
from multimodal_dql.encoders.sources import resolve
from multimodal_dql.errors import EncoderError, UnknownNameError

CARD = read_card(card_paths()["efficientnet-lite0"])


def test_once_converted_no_tensorflow_is_imported(built_in):
    built_in("efficientnet-lite0")
    script = (
        "import sys, json, numpy as np\n"
        "from multimodal_dql.encoders import load_encoder\n"
        "v = load_encoder('efficientnet-lite0').encode([np.zeros((9, 9, 3), np.uint8)])\n"
        "print(json.dumps([v.shape, sorted({'tensorflow', 'keras', 'torch'} & set(sys.modules))]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[1, 1280], []]
    assert done.stderr == ""


@pytest.fixture
def converted(built_in, tmp_path, monkeypatch):
    """An own cache that holds the converted model."""
    built_in("efficientnet-lite0")
    (model,) = (cache_root() / "encoders/efficientnet-lite0").glob("*.tflite")
    content = model.read_bytes()
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path))
    copy = tmp_path / "encoders/efficientnet-lite0" / model.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(content)
    return copy


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-9], lambda c: c[:-9] + bytes([c[-9] ^ 1]) + c[-8:], lambda c: b""]
)
def test_a_damaged_conversion_is_made_again(converted, monkeypatch, damage):
    content = converted.read_bytes()
    converted.write_bytes(damage(content))
    calls = []

    def convert(files, card):
        calls.append(card.name)
        return content[32:]

    monkeypatch.setitem(litert_image._CONVERTERS, "efficientnet-lite0", convert)
    picture = np.full((30, 40, 3), 99, np.uint8)
    assert load_encoder("efficientnet-lite0").encode([picture]).shape == (1, 1280)
    load_encoder("efficientnet-lite0")
    assert calls == ["efficientnet-lite0"]
    assert converted.read_bytes() == content


@pytest.mark.slow
def test_two_processes_that_convert_at_once_agree(tmp_path):
    script = (
        "import numpy as np\n"
        "from multimodal_dql.encoders import load_encoder\n"
        "picture = np.full((30, 40, 3), 99, np.uint8)\n"
        "print(load_encoder('efficientnet-lite0').encode([picture]).tobytes().hex())\n"
    )
    environment = {"MULTIMODAL_DQL_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    both = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    first, second = (process.communicate(timeout=300)[0] for process in both)
    assert first == second != ""
    assert len(list(tmp_path.rglob("*.tflite"))) == 1
    assert len(list((tmp_path / "encoders/efficientnet-lite0").iterdir())) == 1


def test_an_unknown_converter_is_refused():
    card = CARD.model_copy(update={"converter": "efficientnet-lite1"})
    with pytest.raises(UnknownNameError, match="did you mean 'efficientnet-lite0'"):
        LiteRTImageEncoder(card, resolve(CARD))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"not a model at all")
    card = CARD.model_copy(update={"converter": ""})
    with pytest.raises(EncoderError, match="LiteRT refuses the model"):
        LiteRTImageEncoder(card, {"model.tflite": tmp_path / "model.tflite"})


def test_a_model_of_another_size_is_refused(converted, tmp_path):
    model = tmp_path / "model.tflite"
    model.write_bytes(converted.read_bytes()[32:])
    settings = {**CARD.preprocessing, "side": 192}
    wrong = CARD.model_copy(update={"converter": "", "preprocessing": settings})
    with pytest.raises(EncoderError, match="192"):
        LiteRTImageEncoder(wrong, {"model.tflite": model})
    narrow = CARD.model_copy(update={"converter": "", "dim": 7})
    with pytest.raises(EncoderError, match="the card says 7"):
        LiteRTImageEncoder(narrow, {"model.tflite": model}).encode([np.zeros((9, 9, 3), np.uint8)])
