"""The demo newsroom: 40 invented stories with headlines, drawn thumbnails and synthesised teasers.

The texts are in ``datasets/demo/stories.toml``; everything else is made here by code. Each picture and sound
has its own random stream, keyed by story and variant, so that the same bytes come out on every run and a
change to one variant changes no other.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import tomllib
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from multimodal_dql.datasets._demo.pictures import encode, picture
from multimodal_dql.datasets._demo.teasers import RATE, teaser
from multimodal_dql.errors import OutputError
from multimodal_dql.fonts import font_paths

__all__ = ["build_demo"]

CATALOGUE = "catalogue.jsonl"
MANIFEST = "manifest.json"
_LETTERS = "abcdef"


def build_demo(folder: Path | None = None) -> Path:
    """Build the demo data, or find it built before.

    What is there is used again if every file has the checksum that the manifest says; otherwise it is made
    anew beside it and moved into place in one step, so that another process never sees half of it.

    Args:
        folder: where to build it; it must be absent, empty, or hold the demo data and nothing else. By
            default a folder in the user's cache (or in ``MULTIMODAL_DQL_CACHE``) whose name changes when the
            demo does.

    Returns:
        The path of the catalogue: JSON lines with item_id, variant_id, image, caption, audio, title,
        section and language.

    Raises:
        OutputError: the folder cannot be written, or holds other files.
        MediaMissing: scikit-learn's photos are not where they should be.
        MissingGlyphsError: no font on this machine can draw the overlays.

    """
    key = _key()
    target = _default_folder(key) if folder is None else Path(folder)
    try:
        if not _complete(target, key):
            if folder is not None:  # the folder in the cache is ours whatever is left in it
                _refuse_other_files(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".demo-") as scratch:
                fresh = Path(scratch) / "fresh"
                _write(fresh, key)
                _move(fresh, target, Path(scratch) / "old", key)
    except OSError as error:
        raise OutputError(path=error.filename or target, reason=error.strerror or str(error)) from error
    return target / CATALOGUE


# ---------------------------------------------------------------- content


def _stories() -> list[dict[str, Any]]:
    stories: list[dict[str, Any]] = tomllib.loads(_text_file().read_text(encoding="utf-8"))["story"]
    return stories


def _files(stories: list[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """Every file of the demo as (path in the folder, bytes); the catalogue comes last."""
    rows = []
    for story in stories:
        for letter, index in zip(_LETTERS, _order(story), strict=False):
            variant = story["variant"][index]
            stem = f"{story['id']}-{letter}"
            row = {
                "item_id": story["id"],
                "variant_id": letter,
                "image": None,
                "caption": variant.get("caption"),
            }
            row |= {"audio": None, "title": story["title"], "section": story["section"]}
            row["language"] = variant.get("language", story["language"])
            if "picture" in variant:
                image = picture(variant["picture"], variant.get("overlay"), _stream(story, index, "picture"))
                suffix, content = encode(image, variant["picture"])
                row["image"] = f"images/{stem}{suffix}"
                # One file is cut short on purpose: what happens to a broken picture belongs to the demo.
                yield row["image"], content[: len(content) // 3] if variant.get("broken") else content
            if "teaser" in variant:
                row["audio"] = f"audio/{stem}.wav"
                yield row["audio"], _wav(teaser(variant["teaser"], _stream(story, index, "teaser")))
            rows.append(row)
    lines = (json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False) for row in rows)
    yield CATALOGUE, "".join(f"{line}\n" for line in lines).encode()


def _order(story: Mapping[str, Any]) -> list[int]:
    """The variants in an order that has nothing to do with their style: the first one is a baseline."""
    return [int(i) for i in _stream(story, 0, "order").permutation(len(story["variant"]))]


def _stream(story: Mapping[str, Any], index: int, purpose: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{story['id']}/{index}/{purpose}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def _wav(samples: np.ndarray[Any, np.dtype[np.int16]]) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


# ---------------------------------------------------------------- files


def _text_file() -> Path:
    from multimodal_dql.datasets.cards import card_folder

    return card_folder() / "demo" / "stories.toml"


def _key() -> str:
    """Names everything the bytes depend on: the stories, the code that draws, the font, Pillow and NumPy."""
    code = [Path(__file__), *sorted((Path(__file__).parent / "_demo").rglob("*.py"))]
    digest = hashlib.sha256(f"Pillow {PIL.__version__}, NumPy {np.__version__}".encode())
    for path in (_text_file(), *code, *font_paths()[:1]):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _default_folder(key: str) -> Path:
    override = os.environ.get("MULTIMODAL_DQL_CACHE")
    if override:
        cache = Path(override)
    else:
        import platformdirs

        cache = platformdirs.user_cache_path("multimodal-dql", appauthor=False)
    return cache / "demo" / key[:16]


def _write(folder: Path, key: str) -> None:
    for name in ("images", "audio"):
        (folder / name).mkdir(parents=True)
    checksums = {}
    for name, content in _files(_stories()):
        (folder / name).write_bytes(content)
        checksums[name] = hashlib.sha256(content).hexdigest()
    manifest = {"key": key, "files": checksums}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and isinstance(manifest.get("files"), dict) else None


def _complete(folder: Path, key: str) -> bool:
    manifest = _manifest(folder)
    if manifest is None or manifest.get("key") != key or CATALOGUE not in manifest["files"]:
        return False
    for name, checksum in manifest["files"].items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != checksum:
            return False
    return True


def _refuse_other_files(folder: Path) -> None:
    """Rebuilding replaces the folder, so nothing but demo data may be in it."""
    if not folder.exists():
        return
    ours = {MANIFEST, CATALOGUE, *(_manifest(folder) or {"files": {}})["files"]}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        name = path.relative_to(folder).as_posix()
        if name not in ours and not (path.is_dir() and name in ("images", "audio")):
            raise OutputError(path=folder, reason=f"it holds {path.name}, which is not part of the demo")


def _move(fresh: Path, target: Path, old: Path, key: str) -> None:
    if target.exists():
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        # Another process was faster; what it built is as good as ours.
        if not _complete(target, key):
            raise
    shutil.rmtree(old, ignore_errors=True)
