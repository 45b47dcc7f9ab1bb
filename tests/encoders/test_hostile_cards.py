"""Hostile and broken cards and the sources they name: each refused in one clear line, and nothing written."""

import hashlib
import zipfile

import pytest

from tests.encoders import tiny
from tests.encoders.hostile import Cases, assert_refused, use
from tests.encoders.test_sources import make_wheel

CASES = Cases()


@CASES.add("is not the one on its card")
def wrong_hash(box):
    model = box.file("m.onnx", tiny.image_onnx())
    folder = box.card({"model.onnx": model})
    model.write_bytes(tiny.image_onnx(kernel=tiny.KERNEL * 2))
    use(folder)


@CASES.add("stays inside its folder")
def a_file_name_that_climbs(box):
    use(box.card({"../../canary": box.file("m", b"x")}))


@CASES.add("stays inside its folder")
def an_absolute_file_name(box):
    use(box.card({str(box.canary): box.file("m", b"x")}))


@CASES.add("a path without '..'")
def a_source_that_climbs(box):
    text = box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx())}) / "evil/card.toml"
    text.write_text(text.read_text().replace(str(box.root / "files"), "../../files"))
    use(box.root / "cards")


@CASES.add("leads out of the card's folder")
def a_link_out_of_the_folder(box):
    model = box.file("m.onnx", tiny.image_onnx())
    path = box.card({"model.onnx": model}) / "evil/card.toml"
    path.write_text(path.read_text().replace(str(model), "inside.onnx"))
    (path.parent / "inside.onnx").symlink_to(model)
    use(box.root / "cards")


@CASES.add("licence")
def no_licence(box):
    use(box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx())}, licence=""))


@CASES.add("dim")
def a_huge_dimension(box):
    use(box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx())}, dim=10**12))


@CASES.add("gives (5,) numbers an item, the card says 7")
def a_dimension_that_is_not_the_measured_one(box):
    use(box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx())}, dim=7))


@CASES.add("no runtime called 'pytorch'")
def an_unknown_runtime(box):
    use(box.card({"model.pt": box.file("m.pt", b"x")}, runtime="pytorch"))


@CASES.add("reads text, not image")
def another_modality(box):
    use(box.card({"modules.json": box.file("modules.json", b"[]")}, runtime="sentence-transformers"))


@CASES.add("has the name of another encoder")
def the_name_of_a_built_in(box):
    folder = box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx())})
    path = folder / "evil/card.toml"
    path.write_text(path.read_text().replace('name = "evil"', 'name = "minilm"'))
    (folder / "evil").rename(folder / "minilm")
    use(folder)


@CASES.add("cannot be read")
def a_card_in_another_encoding(box):
    use(box.raw("summary = '标题'".encode("gb18030")))


@CASES.add("nested too deeply")
def a_card_of_brackets(box):
    use(box.raw(b"x = " + b"[" * 20_000 + b"]" * 20_000))


@CASES.add("at most 262144 bytes")
def a_card_without_end(box):
    use(box.raw(b"x = [" + b"1," * 1_000_000 + b"]"))


@CASES.add("requirement")
def an_option_of_the_installer(box):
    folder = box.card()
    path = folder / "evil/card.toml"
    source = '{ kind = "wheel", requirement = "--index-url=http://evil a==1", path = "m" }'
    path.write_text(
        path.read_text() + f'[[files]]\nname = "m"\nsha256 = "{"0" * 64}"\nbytes = 1\nsources = [{source}]\n'
    )
    use(folder)


@CASES.add("handle")
def a_hub_address_without_encryption(box):
    folder = box.card(runtime="hub")
    path = folder / "evil/card.toml"
    source = '{ kind = "hub", handle = "http://evil.example/m/1", path = "saved_model.pb" }'
    path.write_text(
        path.read_text()
        + f'[[files]]\nname = "saved_model.pb"\nsha256 = "first-fetch"\nsources = [{source}]\n'
    )
    use(folder)


@CASES.add("preprocessing.side is 1000000")
def a_picture_of_a_million_pixels_a_side(box):
    folder = box.card({"model.onnx": box.file("m.onnx", tiny.image_onnx())})
    path = folder / "evil/card.toml"
    path.write_text(path.read_text().replace("side = 8", "side = 1000000"))
    use(folder)


def _wheel_card(box, member, content):
    folder = box.card()
    path = folder / "evil/card.toml"
    source = f'{{ kind = "wheel", requirement = "toy-weights==1.0", path = "{member}" }}'
    digest = hashlib.sha256(content).hexdigest()
    path.write_text(
        path.read_text()
        + f'[[files]]\nname = "model.onnx"\nsha256 = "{digest}"\nbytes = {len(content)}\nsources = [{source}]\n'
    )
    return folder


@CASES.add("stays inside its folder")
def a_wheel_that_slips_out(box):
    make_wheel(box.root / "registry", "../../../../canary", b"x")
    use(_wheel_card(box, "../../../../canary", b"x"))


@CASES.add("is not the file on the card")
def a_wheel_that_swells(box):
    make_wheel(box.root / "registry", "toy_weights/m.onnx", b"x")
    wheel = box.root / "registry/toy_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("toy_weights/bomb", b"\0" * (64 << 20))
    use(_wheel_card(box, "toy_weights/bomb", b"x"))


@pytest.mark.parametrize(("attack", "words", "library"), CASES)
def test_it_is_refused_in_one_line_and_writes_nothing(attack, words, library, tmp_path, monkeypatch):
    assert_refused(attack, words, tmp_path, monkeypatch, library=library)
