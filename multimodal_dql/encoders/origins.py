"""What `encoders add` is given: a file or folder here, a repository of Hugging Face, a module of TensorFlow Hub."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.cards import FolderSource, HubSource, Source
from multimodal_dql.encoders.hugging_face import fetch_model
from multimodal_dql.encoders.places import NotHereError, from_hub
from multimodal_dql.errors import EncoderError, EncoderUnavailable

__all__ = ["Origin", "origin_of", "short_name"]

_REPOSITORY = re.compile(
    r"(?:https://(?:huggingface\.co|hf\.co)/)?"
    r"(?P<repository>[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*)"
    r"(?:(?:@|/tree/)(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]*))?/?"
)
_MODULE = re.compile(r"https://tfhub\.dev/[A-Za-z0-9./_-]+")


@dataclass(frozen=True)
class Origin:
    """A model that is here now.

    Attributes:
        path: its folder or file.
        title: what its publisher calls it.
        added: the end of its summary, English and Chinese.
        homepage: where it comes from; empty for this machine.
        source: name and path of one of its files -> how a card names where it comes from.

    """

    path: Path
    title: str
    added: tuple[str, str]
    homepage: str
    source: Callable[[str, Path], Source]


def origin_of(name: str, given: str, modality: Modality | None) -> Origin:
    """The model `given`, fetched if it is on a hub; what is on this machine goes before a hub's of the same name."""
    path = Path(given).expanduser()
    if path.exists() or not (_is_address(given) or _REPOSITORY.fullmatch(given)):
        return Origin(path, path.name, ("from this machine", "由本机添加"), "", _folder)
    if asked := _REPOSITORY.fullmatch(given):
        repository = fetch_model(name, asked["repository"], asked["revision"] or "", modality)
        title = repository.repository
        home = f"https://huggingface.co/{title}"
        return Origin(
            repository.folder, title, ("from Hugging Face", "来自 Hugging Face"), home, repository.source
        )
    if not _MODULE.fullmatch(given):
        raise EncoderError(
            name=name,
            detail=f"{given} is no address that is known here: owner/name or https://huggingface.co/owner/name, "
            "https://tfhub.dev/...; a model from elsewhere (Kaggle: kaggle models instances versions download) is "
            "unpacked and added as a folder",
            detail_zh=f"{given} 不是此处认识的地址：可用 owner/name 或 https://huggingface.co/owner/name、"
            "https://tfhub.dev/...；其他来源（如 Kaggle：kaggle models instances versions download）"
            "请解压后按文件夹添加",
        )
    return _module(name, given)


def short_name(given: str) -> str:
    """The part of a path or an address by which its model is called."""
    path = Path(given).expanduser()
    if path.exists():
        return path.stem if path.is_file() else path.resolve().name
    if asked := _REPOSITORY.fullmatch(given):
        return asked["repository"].rpartition("/")[2]
    parts = [part for part in given.rstrip("/").split("/") if not part.isdigit()]
    return Path(parts[-1]).stem if parts else ""


def _is_address(given: str) -> bool:
    return re.match(r"[a-z]+://", given) is not None


def _folder(name: str, path: Path) -> FolderSource:
    del name
    return FolderSource(kind="folder", path=str(path))


def _module(name: str, handle: str) -> Origin:
    """A module of TensorFlow Hub, whose handle holds its version."""
    try:
        folder = from_hub(HubSource(kind="hub", handle=handle, path="saved_model.pb"), fetch=True).parent
    except NotHereError as reason:
        raise EncoderUnavailable(
            name=name,
            detail=f"TensorFlow Hub does not give {handle} ({reason}); where there is a network, download and unpack "
            "it, and add its folder here",
            detail_zh=f"无法从 TensorFlow Hub 取得 {handle}（{reason.zh}）；"
            "请在能联网的机器上下载并解压，再在此添加其文件夹",
        ) from reason

    def source(file: str, path: Path) -> HubSource:
        del file
        inside = path.relative_to(folder.resolve()).as_posix()
        return HubSource(kind="hub", handle=handle, path=inside)

    return Origin(folder, handle, ("from TensorFlow Hub", "来自 TensorFlow Hub"), handle, source)
