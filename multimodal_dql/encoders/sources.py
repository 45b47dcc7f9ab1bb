"""From a card to files on this machine: installed package, registry wheel, local folder or a hub.

Sources are tried in the order of the card. Whatever is found is used only if its SHA-256 is the one on the
card, every time an encoder is loaded, so a changed file can cost an error message but never a wrong number.
Files whose hash the card leaves open are taken by `pin` alone, once (`multimodal_dql.encoders.pins`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from multimodal_dql.encoders.cards import (
    FIRST_FETCH,
    Card,
    CardFile,
    FolderSource,
    PackageSource,
    Source,
    SplitSource,
    WheelSource,
)
from multimodal_dql.encoders.paths import cache_root
from multimodal_dql.encoders.pins import Pin, wanted, with_pins, write_pins
from multimodal_dql.encoders.places import NotHereError, atomic_write, commit_of, locate
from multimodal_dql.encoders.reasons import Reason
from multimodal_dql.errors import EncoderError, EncoderUnavailable

__all__ = ["State", "atomic_write", "common_folder", "pin", "resolve", "sha256_of", "whereabouts"]

State = Literal["installed", "cached", "needs the network"]
"""Of an encoder's files: in packages or folders of this machine, (some) in a cache, or to be fetched."""


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
        commit = commit_of(path)
        found[file.name] = Pin(
            wanted=wanted(file), sha256=sha256_of(path), bytes=path.stat().st_size, revision=commit
        )
    write_pins(card, found)
    return with_pins(card)


def _first_found(card: Card, file: CardFile) -> Path:
    reasons: list[NotHereError] = []
    for source in file.sources:
        try:
            return locate(card, source, fetch=True, hubs=True)
        except NotHereError as reason:
            reasons.append(reason)
    raise _unavailable(card, file, reasons)


def whereabouts(card: Card) -> State:
    """Whether the files of `card` can be had without the network, and from where; hashes are not computed."""
    try:
        found = [_found_offline(card, file) for file in card.files] if card.pinned else [None]
    except EncoderError:
        return "needs the network"
    if None in found:
        return "needs the network"
    kept = any(not isinstance(source, PackageSource | FolderSource) for source in found)
    return "cached" if kept else "installed"


def _found_offline(card: Card, file: CardFile) -> Source | None:
    for source in file.sources:
        try:
            if locate(card, source).stat().st_size == file.bytes:
                return source
        except (NotHereError, OSError):
            continue
    return None


def _resolve_file(card: Card, file: CardFile, *, fetch: bool, hubs: bool) -> Path:
    reasons: list[NotHereError] = []
    changed: list[Reason] = []
    for source in file.sources:
        try:
            path = locate(card, source, fetch=fetch, hubs=hubs)
        except NotHereError as reason:
            reasons.append(reason)
            continue
        digest = sha256_of(path)
        if digest == file.sha256:
            return path
        changed.append(
            Reason(
                f"{path} has sha256 {digest[:12]}..., not {file.sha256[:12]}...",
                f"{path} 的 sha256 为 {digest[:12]}...，应为 {file.sha256[:12]}...",
            )
        )
        if isinstance(source, WheelSource | SplitSource):
            path.unlink(missing_ok=True)  # our own copy: the next call fetches it again
    if changed:
        found, found_zh = "; ".join(map(str, changed)), "；".join(one.zh for one in changed)
        raise EncoderError(
            name=card.name,
            detail=f"the file {file.name} is not the one on its card: {found}; reinstall it, or delete it and fetch it "
            "again",
            detail_zh=f"文件 {file.name} 与卡片不符：{found_zh}；请重新安装，或删除后重新获取",
        )
    raise _unavailable(card, file, reasons)


def _unavailable(card: Card, file: CardFile, reasons: list[NotHereError]) -> EncoderUnavailable:
    return EncoderUnavailable(
        name=card.name,
        detail=f"the file {file.name} cannot be had here ({'; '.join(map(str, reasons))}); "
        f"with a network, run: multimodal-dql encoders fetch {card.name}",
        detail_zh=f"此处无法取得文件 {file.name}（{'；'.join(reason.zh for reason in reasons)}）；"
        f"联网后请运行：multimodal-dql encoders fetch {card.name}",
    )


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
