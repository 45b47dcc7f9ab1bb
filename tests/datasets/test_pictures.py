from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from multimodal_dql.datasets.media import MediaLimits, MediaLoader, load_image
from multimodal_dql.errors import (
    MediaDamaged,
    MediaError,
    MediaFormatError,
    MediaMissing,
    MediaNotAFile,
    MediaTooLarge,
)

# Four quarters in colours that every format keeps apart: top left, top right, bottom left, bottom right.
RED, GREEN, BLUE, GREY = (200, 20, 20), (20, 180, 20), (20, 20, 200), (120, 120, 120)


@pytest.fixture(scope="module")
def loader() -> Iterator[MediaLoader]:
    with MediaLoader() as loader:
        yield loader


def quarters(width: int = 64, height: int = 32) -> Image.Image:
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = RED
    image[: height // 2, width // 2 :] = GREEN
    image[height // 2 :, : width // 2] = BLUE
    image[height // 2 :, width // 2 :] = GREY
    return Image.fromarray(image)


def corners(image: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    height, width, _ = image.shape
    places = [(height // 4, width // 4), (height // 4, -width // 4), (-height // 4, width // 4)]
    return [tuple(image[place].tolist()) for place in [*places, (-height // 4, -width // 4)]]


def close(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]], tolerance: int) -> None:
    np.testing.assert_allclose(np.array(found, int), np.array(wanted, int), atol=tolerance)


@pytest.mark.parametrize(
    ("suffix", "options", "tolerance"),
    [
        ("png", {}, 0),
        ("bmp", {}, 0),
        ("tiff", {}, 0),
        ("tiff", {"compression": "tiff_lzw"}, 0),
        ("jpg", {"quality": 95}, 8),
        ("jpg", {"quality": 90, "progressive": True}, 8),
        ("webp", {"lossless": True}, 0),
        ("gif", {}, 2),
        ("avif", {"quality": 90}, 12),
    ],
)
def test_formats(
    tmp_path: Path, loader: MediaLoader, suffix: str, options: dict[str, object], tolerance: int
) -> None:
    path = tmp_path / f"picture.{suffix}"
    quarters().save(path, **options)  # type: ignore[arg-type]
    image = loader.image(path)
    assert (image.shape, image.dtype) == ((32, 64, 3), np.uint8)
    assert image.flags.writeable
    assert image.flags.c_contiguous
    close(corners(image), [RED, GREEN, BLUE, GREY], tolerance)


def test_a_wrong_suffix_does_not_matter(tmp_path: Path, loader: MediaLoader) -> None:
    quarters().save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "图片.jpg")
    close(corners(loader.image(tmp_path / "图片.jpg")), [RED, GREEN, BLUE, GREY], 0)


def test_two_pictures_in_one_jpeg(tmp_path: Path, loader: MediaLoader) -> None:
    path = tmp_path / "stereo.mpo"
    quarters().save(path, save_all=True, append_images=[Image.new("RGB", (64, 32))])
    close(corners(loader.image(path)), [RED, GREEN, BLUE, GREY], 20)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(
    tmp_path: Path, loader: MediaLoader, suffix: str, orientation: int
) -> None:
    # How a camera stores an upright picture under each orientation, from the definition of the EXIF tag.
    stored = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](np.asarray(quarters()))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, quality=95)
    image = loader.image(path)
    assert image.shape == (32, 64, 3)
    close(corners(image), [RED, GREEN, BLUE, GREY], 20)


def test_damaged_exif_keeps_the_picture(tmp_path: Path, loader: MediaLoader) -> None:
    path = tmp_path / "x.jpg"
    quarters().save(path, quality=95, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff" + b"\xff" * 40)
    close(corners(loader.image(path)), [RED, GREEN, BLUE, GREY], 8)


def test_palette(tmp_path: Path, loader: MediaLoader) -> None:
    path = tmp_path / "x.png"
    quarters().quantize(4).save(path)
    with Image.open(path) as stored:
        assert stored.mode == "P"
    close(corners(loader.image(path)), [RED, GREEN, BLUE, GREY], 1)


def test_cmyk(tmp_path: Path, loader: MediaLoader) -> None:
    path = tmp_path / "x.jpg"
    quarters().convert("CMYK").save(path, quality=95)
    with Image.open(path) as stored:
        assert stored.mode == "CMYK"
    close(corners(loader.image(path)), [RED, GREEN, BLUE, GREY], 10)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey_keeps_its_shades(tmp_path: Path, loader: MediaLoader, suffix: str) -> None:
    grey = np.repeat(np.array([[0, 1000, 32768, 65535]], np.uint16), 8, axis=0).repeat(8, axis=1)
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(grey).save(path)
    np.testing.assert_array_equal(loader.image(path)[0, ::8], [[n] * 3 for n in (0, 3, 128, 255)])


def test_16_bit_colour_png(tmp_path: Path, loader: MediaLoader) -> None:
    """Pillow cannot write 48-bit PNG, so the bytes are put together here, after the PNG specification."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    pixels = b"\x00" + struct.pack(">6H", 0xC8FF, 0x1400, 0x1480, 0, 0x7FFF, 0xFFFF)
    path = tmp_path / "x.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(pixels))
        + chunk(b"IEND", b"")
    )
    close([tuple(p) for p in loader.image(path)[0].tolist()], [(200, 20, 20), (0, 127, 255)], 1)


@pytest.mark.parametrize(("scale", "wanted"), [(1.0, (0, 64, 255)), (1000.0, (0, 64, 255))])
def test_floating_point_tiff(
    tmp_path: Path, loader: MediaLoader, scale: float, wanted: tuple[int, ...]
) -> None:
    path = tmp_path / "x.tiff"
    Image.fromarray(np.array([[0, 0.25, 1]], np.float32) * np.float32(scale)).save(path)
    assert tuple(loader.image(path)[0, :, 0].tolist()) == wanted


def test_floating_point_tiff_with_nan(tmp_path: Path, loader: MediaLoader) -> None:
    path = tmp_path / "x.tiff"
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(path)
    with pytest.raises(MediaDamaged, match="NaN"):
        loader.image(path)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_transparency_is_put_over_white(tmp_path: Path, loader: MediaLoader, mode: str) -> None:
    path = tmp_path / "x.png"
    image = Image.new("RGBA", (4, 1))
    for x, (shade, alpha) in enumerate([(0, 0), (0, 255), (0, 128), (255, 255)]):
        image.putpixel((x, 0), (shade, shade, shade, alpha))
    if mode == "RGB":
        Image.fromarray(np.array([[[1, 2, 3], [0, 0, 0], [0, 0, 0], [255] * 3]], np.uint8)).save(
            path, transparency=(1, 2, 3)
        )
    elif mode == "P":
        palette = Image.new("P", (4, 1))
        palette.putpalette([9, 9, 9, 0, 0, 0, 0, 0, 0, 255, 255, 255])
        palette.putdata([0, 1, 2, 3])
        palette.save(path, transparency=bytes([0, 255, 128, 255]))
    else:
        image.convert(mode).save(path)
    half = 0 if mode == "RGB" else 127
    close([tuple(p) for p in loader.image(path)[0].tolist()], [(n,) * 3 for n in (255, 0, half, 255)], 1)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_the_first_frame_of_an_animation(tmp_path: Path, loader: MediaLoader, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    quarters().save(path, save_all=True, append_images=[Image.new("RGB", (64, 32))] * 3, **options)
    close(corners(loader.image(path)), [RED, GREEN, BLUE, GREY], 2)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((1024, 600), (1024, 600)),
        ((1280, 720), (640, 360)),
        ((2400, 1200), (800, 400)),
        ((600, 4096), (150, 1024)),
        ((5000, 3), (1000, 1)),
    ],
)
def test_large_pictures_are_divided_by_a_whole_number(
    tmp_path: Path, loader: MediaLoader, suffix: str, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    path = tmp_path / f"x.{suffix}"
    quarters(*size).save(path)
    height, width, _ = loader.image(path).shape
    if suffix != "jpg":
        assert (width, height) == wanted
    else:  # the JPEG decoder divides by a power of two first
        assert max(width, height) <= 1024
        assert abs(width / height - size[0] / size[1]) < 0.01 * size[0] / size[1] or height == 1
    if min(wanted) > 100:
        close(corners(loader.image(path)), [RED, GREEN, BLUE, GREY], 12)


def test_transparent_pixels_do_not_colour_their_neighbours_when_reduced(
    tmp_path: Path, loader: MediaLoader
) -> None:
    pixels = np.zeros((2, 2048, 4), np.uint8)
    pixels[:, ::2] = (0, 0, 255, 0)  # invisible blue between visible red
    pixels[:, 1::2] = (255, 0, 0, 255)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    np.testing.assert_allclose(loader.image(path)[0, 5].astype(int), (255, 128, 128), atol=1)


def test_the_same_file_gives_the_same_pixels(tmp_path: Path, loader: MediaLoader) -> None:
    path = tmp_path / "x.jpg"
    quarters(1500, 900).save(path)
    np.testing.assert_array_equal(loader.image(path), loader.image(path))
    np.testing.assert_array_equal(loader.image(path), load_image(path))


# Refusals


def test_a_picture_over_the_budget_is_refused_from_its_header(tmp_path: Path, loader: MediaLoader) -> None:
    """400 million black pixels in 50 kilobytes, compressed row by row."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    row = b"\x00" * (1 + 20_000 // 8)
    body = b"".join(packer.compress(row) for _ in range(20_000)) + packer.flush()
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    (pid,) = loader.pids or (loader.image(_small(tmp_path)), loader.pids)[1]
    before = peak_kilobytes(pid)
    with pytest.raises(
        MediaTooLarge, match=r"20,000 x 20,000 pixels is over the budget of 64 million"
    ) as caught:
        loader.image(path)
    assert caught.value.exit_code == 2
    assert peak_kilobytes(pid) - before < 50_000
    assert loader.pids == (pid,)


def _small(folder: Path) -> Path:
    quarters().save(folder / "small.png")
    return folder / "small.png"


def peak_kilobytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def test_the_budget_can_be_set(tmp_path: Path) -> None:
    path = _small(tmp_path)
    with MediaLoader(MediaLimits(pixels=64 * 32)) as loader:
        assert loader.image(path).shape == (32, 64, 3)
    with MediaLoader(MediaLimits(pixels=64 * 32 - 1)) as loader, pytest.raises(MediaTooLarge):
        loader.image(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "tiff", "bmp", "avif"])
@pytest.mark.parametrize("keep", [0.15, 0.6, 0.95])
def test_truncated_files(tmp_path: Path, loader: MediaLoader, suffix: str, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(MediaDamaged, match="damaged or cut short"):
        loader.image(path)


def heic() -> bytes:
    return b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"\x00" * 100


def wav() -> bytes:
    import soundfile

    data = io.BytesIO()
    soundfile.write(data, np.zeros(100), 16_000, format="WAV")
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (lambda: b"just some text, not a picture\n" * 10, "a text file"),
        (lambda: "这不是图片".encode() * 2000, "a text file"),
        (
            lambda: b"<?xml version='1.0'?>\n<!-- x -->\n<svg xmlns='http://www.w3.org/2000/svg'/>",
            "an SVG drawing",
        ),
        (lambda: b"<!DOCTYPE html><html></html>", "a web page"),
        (lambda: b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
        (lambda: b"PK\x03\x04" + b"\x00" * 50, "an archive"),
        (lambda: b"\x1f\x8b\x08" + b"\x00" * 50, "a gzip archive"),
        (heic, "a HEIC picture"),
        (lambda: b"\x00\x00\x00\x18ftypisom" + b"\x00" * 50, "a video"),
        (wav, "a sound"),
        (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "a text file"),
        (lambda: b"\x00\x01\x02\x03" * 30, "in a format that is not known here"),
    ],
)
def test_what_is_not_a_picture_is_named(
    tmp_path: Path, loader: MediaLoader, data: Callable[[], bytes], seen: str
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data())
    with pytest.raises(MediaFormatError) as caught:
        loader.image(path)
    assert f"photo.jpg: is {seen}" in str(caught.value)
    assert "export it as one of PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF" in str(caught.value)
    assert "请导出为" in caught.value.text("zh")


def test_a_signature_without_a_picture(tmp_path: Path, loader: MediaLoader) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 40)
    with pytest.raises(MediaDamaged):
        loader.image(path)


def test_formats_that_are_not_wanted_are_not_tried(tmp_path: Path, loader: MediaLoader) -> None:
    for suffix in ("ppm", "ico", "tga", "pcx", "eps"):
        path = tmp_path / f"x.{suffix}"
        quarters().save(path)
        with pytest.raises(MediaFormatError):
            loader.image(path)


def test_places_that_are_no_file(tmp_path: Path, loader: MediaLoader) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "dangling.png").symlink_to("nowhere")
    for path, kind, told in [
        (tmp_path / "none.png", MediaMissing, "there is no such file; correct the path"),
        (tmp_path / "empty.png" / "x.png", MediaMissing, "there is no such file"),
        (tmp_path / "dangling.png", MediaMissing, "there is no such file"),
        (tmp_path, MediaNotAFile, "is a folder, not a file"),
        (tmp_path / "fifo.png", MediaNotAFile, r"is a FIFO \(named pipe\), not a file"),
        (Path("/dev/zero"), MediaNotAFile, "is a device, not a file"),
        (tmp_path / "empty.png", MediaFormatError, r"the file is empty \(0 bytes\)"),
        (tmp_path / "a\x00b.png", MediaError, "cannot be opened"),
        (tmp_path / ("x" * 5000), MediaError, "cannot be opened"),
        (Path("/" + "x/" * 40_000), MediaError, "cannot be opened"),
    ]:
        with pytest.raises(kind, match=told) as caught:
            loader.image(path)
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)
        assert caught.value.text("zh") != str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path, loader: MediaLoader) -> None:
    path = _small(tmp_path)
    path.chmod(0)
    with pytest.raises(MediaError, match=r"cannot be opened \(Permission denied\)"):
        loader.image(path)


def test_links_and_odd_names_are_followed(tmp_path: Path, loader: MediaLoader) -> None:
    target = _small(tmp_path)
    (tmp_path / "link.png").symlink_to(target)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    odd.write_bytes(target.read_bytes())
    assert loader.image(tmp_path / "link.png").shape == loader.image(odd).shape == (32, 64, 3)


def test_files_over_the_byte_budget(tmp_path: Path) -> None:
    path = _small(tmp_path)
    with path.open("ab") as file:
        file.truncate(3_000_000)  # sparse
    wanted = pytest.raises(MediaTooLarge, match="3 MB is more than the budget of 2 MB")
    with MediaLoader(MediaLimits(file_bytes=2_000_000)) as loader, wanted:
        loader.image(path)


def test_flipped_bytes_never_do_more_than_an_error(tmp_path: Path, loader: MediaLoader) -> None:
    rng = np.random.default_rng(1)
    survived = 0
    for suffix in ("jpg", "png", "webp", "gif", "tiff", "bmp", "avif"):
        quarters().save(tmp_path / f"x.{suffix}")
        good = np.frombuffer((tmp_path / f"x.{suffix}").read_bytes(), np.uint8)
        for _ in range(25):
            bad = good.copy()
            places = rng.integers(0, len(bad), 3)
            bad[places] = rng.integers(0, 256, 3)
            path = tmp_path / "bad"
            path.write_bytes(bad.tobytes())
            try:
                image = loader.image(path)
            except MediaError:
                continue
            survived += 1
            assert image.dtype == np.uint8
            assert image.ndim == 3
    assert survived > 0
