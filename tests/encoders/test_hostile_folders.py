"""Hostile and broken folders in the layout of transformers: each refused in one clear line, and nothing written."""

import json

import pytest

from multimodal_dql.encoders.adding import add_source
from tests.encoders import tiny
from tests.encoders.hostile import Cases, assert_refused, use

CASES = Cases()


@CASES.add("asks for code of its own (auto_map), which is never run")
def a_tokenizer_with_remote_code(box):
    folder = tiny.text_folder(box.root / "files")
    config = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(box.canary)!r}, 'w')\n")
    use(box.card({p.name: p for p in folder.iterdir()}, modality="text", dim=3, extra='pooling = "mean"\n'))


@CASES.add("asks for code of its own (auto_map), which is never run")
def a_model_with_remote_code(box):
    folder = tiny.text_folder(box.root / "files")
    config = {"model_type": "evil", "auto_map": {"AutoModel": "evil.Evil"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(box.canary)!r}, 'w')\n")
    add_source(folder, name="evil")


@CASES.add("is a link that leads out of its folder")
def a_folder_with_a_link_out_of_it(box):
    folder = tiny.text_folder(box.root / "files")
    (box.root / "elsewhere").write_text("cat\n")
    (folder / "vocab.txt").unlink()
    (folder / "vocab.txt").symlink_to(box.root / "elsewhere")
    add_source(folder, name="evil")


@CASES.add("the module os.system, which is not known here")
def a_module_that_is_a_command(box):
    module = {"idx": 2, "name": "2", "path": "", "type": "os.system"}
    add_source(tiny.sentence_folder(box.root / "files", modules=[module]), name="evil")


@CASES.add("leads out of its folder")
def a_module_in_another_folder(box):
    (box.root / "elsewhere").mkdir()
    (box.root / "elsewhere/config.json").write_text("{}")
    module = {"idx": 2, "name": "2", "path": "../elsewhere", "type": "sentence_transformers.models.Dense"}
    add_source(tiny.sentence_folder(box.root / "files", modules=[module]), name="evil")


@CASES.add("the pooling")
def a_pooling_nobody_knows(box):
    add_source(tiny.sentence_folder(box.root / "files", pooling="pooling_mode_evil"), name="evil")


@CASES.add("nested too deeply")
def a_configuration_of_brackets(box):
    folder = tiny.text_folder(box.root / "files")
    (folder / "config.json").write_text("[" * 100_000)
    add_source(folder, name="evil")


@CASES.add("its tokenizer cannot be loaded")
def a_tokenizer_that_is_none(box):
    folder = tiny.text_folder(box.root / "files")
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Evil"}}')
    add_source(folder, name="evil")


@CASES.add("no licence is named")
def a_licence_hidden_in_yaml(box):
    folder = tiny.text_folder(box.root / "files", licence=None)
    bomb = "a: &a [x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)},*{chr(97 + i)}]\n" for i in range(20)
    )
    command = f"!!python/object/apply:os.system ['touch {box.canary}']"
    (folder / "README.md").write_text(f"---\n{bomb}license: {command}\n---\n")
    add_source(folder, name="evil")


@pytest.mark.parametrize(("attack", "words", "library"), CASES)
def test_it_is_refused_in_one_line_and_writes_nothing(attack, words, library, tmp_path, monkeypatch):
    assert_refused(attack, words, tmp_path, monkeypatch, library=library)
