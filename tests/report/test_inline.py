import base64
import io
import wave

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from multimodal_dql.report.inline import Inliner, picture_uri, sound_uri

EVIL = b"<script>steal()</script>"


def content(uri: str) -> bytes:
    return base64.b64decode(uri.split(",", 1)[1])


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(360, 640, (480, 270)), (100, 200, (200, 100)), (4000, 100, (24, 960)), (1, 1, (1, 1))],
)
def test_pictures_are_shrunk_never_enlarged(height, width, size):
    made = picture_uri(np.full((height, width, 3), 200, np.uint8))
    assert made.uri.startswith("data:image/webp;base64,")
    with Image.open(io.BytesIO(content(made.uri))) as image:
        assert image.size == size == (made.width, made.height)


def test_sounds_are_16_bit_mono_at_16_khz_and_cut():
    samples = np.linspace(-2, 2, 16_000 * 11, dtype=np.float32)
    made = sound_uri(samples)
    assert made.cut
    assert made.seconds == 10.0
    with wave.open(io.BytesIO(content(made.uri))) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 16_000)
        assert sound.getnframes() == 160_000
        assert np.frombuffer(sound.readframes(1), "<i2")[0] == -32767
    assert not sound_uri(samples[:16_000]).cut


def test_nothing_of_the_file_but_its_pixels_reaches_the_page(tmp_path, loader):
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", EVIL.decode())
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 30), "teal").save(path, pnginfo=notes)
    path.write_bytes(path.read_bytes() + EVIL)
    made = Inliner(loader, tmp_path, "en", "left out").picture(path, 480)
    assert made.problem is None
    assert EVIL not in content(made.uri)
    with Image.open(io.BytesIO(content(made.uri))) as image:
        assert abs(image.convert("RGB").getpixel((20, 15))[1] - 128) < 8


def test_files_that_cannot_be_used_cost_a_sentence(tmp_path, loader):
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    media = Inliner(loader, tmp_path, "zh", "left out")
    picture, sound = media.picture(text, 480), media.sound(tmp_path / "none.wav")
    assert picture.uri == sound.uri == ""
    assert picture.problem.startswith("text.jpg：")
    assert sound.problem.startswith("none.wav：")
    assert str(tmp_path) not in picture.problem + sound.problem


def test_a_page_does_not_grow_without_end(tmp_path, loader):
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 30), "teal").save(path)
    media = Inliner(loader, tmp_path, "en", "left out", budget=1)
    assert media.picture(path, 480).problem is None
    assert media.picture(path, 480).problem == "left out"
    assert media.sound(path).problem == "left out"
