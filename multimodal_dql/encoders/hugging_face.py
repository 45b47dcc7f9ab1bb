"""A model of Hugging Face that becomes an encoder: one commit, the files its runtime needs, each verified.

The hub lists a repository with sizes and hashes. Settings come first, so that what is refused is refused before its
weights are fetched; pickles and code are never fetched. The files lie in the hub's own cache, where `encoders fetch`
puts them, too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from multimodal_dql.encoders.base import Modality
from multimodal_dql.encoders.cards import HuggingFaceSource
from multimodal_dql.encoders.detect_folder import WEIGHTS, modality_of, weights_among
from multimodal_dql.encoders.found import CONFIG_FILES, SENTENCE_FILES, TOKENIZER_FILES
from multimodal_dql.encoders.licences import LICENCE_FILES
from multimodal_dql.encoders.model_folder import check_folder, read_modules
from multimodal_dql.encoders.onnx_file import read_onnx
from multimodal_dql.encoders.places import NotHereError, from_hugging_face, quiet_hub
from multimodal_dql.encoders.plugins import one_line
from multimodal_dql.encoders.reasons import Reason, both
from multimodal_dql.encoders.sources import sha256_of
from multimodal_dql.encoders.weights import CONVERT_TORCH, PICKLES, need_torch
from multimodal_dql.errors import EncoderError, EncoderUnavailable

__all__ = ["Repository", "fetch_model"]

_LIST_SECONDS = 10
"""Silence of the hub after which it counts as out of reach."""

_LISTED = re.compile(r"[^/\\\0]+(/[^/\\\0]+)*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class _Listed:
    """What the hub says of a file: hash of a large one, or of a small one as git computes it."""

    bytes: int | None
    sha256: str | None
    blob: str | None


class Repository:
    """A repository at one commit.

    Args:
        name: of the encoder to be, for messages.
        repository: ``owner/name``.
        revision: branch, tag or commit; the hub's default branch if empty.

    Attributes:
        commit: 40 hexadecimal digits.
        files: path -> what the hub says of it.

    """

    def __init__(self, name: str, repository: str, revision: str = "") -> None:
        self.name, self.repository, self.commit = name, repository, revision
        self._here: dict[str, Path] = {}
        try:
            with quiet_hub() as hub:
                found = hub.HfApi().model_info(
                    repository, revision=revision or None, files_metadata=True, timeout=_LIST_SECONDS
                )
            siblings = found.siblings or ()
            commit = str(found.sha)
        except (
            Exception
        ) as error:  # its own, those of its HTTP client, and of whatever a broken answer leads to
            raise self._refused(error) from error
        if not _COMMIT.fullmatch(commit):
            raise self._refused(Reason("its answer names no commit", "其应答没有给出提交"))
        self.commit = commit
        self.files = {
            file.rfilename: _Listed(file.size, file.lfs.sha256 if file.lfs else None, file.blob_id)
            for file in siblings
            if _LISTED.fullmatch(file.rfilename) and not {".", ".."} & {*file.rfilename.split("/")}
        }

    @property
    def folder(self) -> Path:
        """Where the fetched files lie under their names."""
        path, here = next(iter(self._here.items()))
        return here.parents[path.count("/")]

    def fetch(self, paths: Iterable[str]) -> None:
        """Those of `paths` that the repository has, verified."""
        for path in paths:
            if path in self.files and path not in self._here:
                self._here[path] = self._fetched(path)

    def source(self, name: str, path: Path) -> HuggingFaceSource:
        """How a card names the file at `path`, which is called `name` there; verifies one that was here before."""
        found = [file for file in self.files if (self.folder / file).resolve() == path]
        if not found:
            raise EncoderError(
                name=self.name,
                detail=f"{path} is no file of {self.repository}; delete it and add the model again",
                detail_zh=f"{path} 不是 {self.repository} 的文件；请删除它后重新添加",
            )
        chosen = name if name in found else found[0]
        self.fetch([chosen])
        return self._source(chosen)

    def _source(self, path: str) -> HuggingFaceSource:
        return HuggingFaceSource(
            kind="huggingface", repository=self.repository, revision=self.commit, path=path
        )

    def _fetched(self, path: str) -> Path:
        try:
            here = from_hugging_face(self._source(path), fetch=True)
        except NotHereError as reason:
            raise self._refused(reason.__cause__ or reason) from reason
        listed = self.files[path]
        if listed.sha256 is not None:
            whole = sha256_of(here) == listed.sha256
        else:
            whole = listed.blob is None or _git_hash(here) == listed.blob
        if not whole or here.stat().st_size != (
            here.stat().st_size if listed.bytes is None else listed.bytes
        ):
            here.resolve().unlink()
            here.unlink(missing_ok=True)
            raise EncoderError(
                name=self.name,
                detail=f"what arrived as {path} is not what Hugging Face lists for {self.repository}, and was deleted; "
                "add the model again, from another network if this stays",
                detail_zh=f"收到的 {path} 与 Hugging Face 为 {self.repository} 列出的不符，已删除；"
                "请重新添加，若仍如此请换一个网络",
            )
        return here

    def pickles(self) -> EncoderError:
        """Why a repository whose weights are nothing but a pickle is refused, with all that converts it."""
        kept = next((p for p in sorted(self.files) if "/" not in p and p.endswith(PICKLES)), None)
        if kept is None:
            return EncoderError(
                name=self.name,
                detail=f"{self.repository} holds no model that is known here (model.onnx, model.safetensors, one .onnx "
                "or .tflite file, a SavedModel); give another repository",
                detail_zh=f"{self.repository} 中没有此处认识的模型（model.onnx、model.safetensors、单个 .onnx 或 "
                ".tflite 文件、SavedModel）；请换一个仓库",
            )
        convert = CONVERT_TORCH.format(path=f"{self.name}/{kept}", out=f"{self.name}/{WEIGHTS}")
        commands = f"{self._download()}; {convert}; multimodal-dql encoders add {self.name}"
        return EncoderError(
            name=self.name,
            detail=f"{kept} of {self.repository} is a pickle, which can run code, and is never fetched; look for a "
            f"repository with model.safetensors or model.onnx, or convert it where you trust it: {commands}",
            detail_zh=f"{self.repository} 的 {kept} 是 pickle，可能执行代码，绝不会下载；请改用带 model.safetensors 或 "
            f"model.onnx 的仓库，或在可信环境中转换：{commands}",
        )

    def _download(self) -> str:
        at = f" --revision {self.commit}" if self.commit else ""
        return f"hf download {self.repository}{at} --local-dir {self.name}"

    def _refused(self, error: BaseException) -> EncoderError:
        """One line for whatever the hub or the way to it gave instead of a file."""
        from huggingface_hub import errors

        if isinstance(error, errors.GatedRepoError):
            return EncoderUnavailable(
                name=self.name,
                detail=f"{self.repository} is gated: agree to its terms on its page, log in (hf auth login), and add "
                "it again",
                detail_zh=f"{self.repository} 需要授权：请在其页面同意条款，登录（hf auth login）后重新添加",
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return EncoderError(
                name=self.name,
                detail=f"{self.repository} has no revision '{self.commit}'; give a branch, a tag or a commit after @",
                detail_zh=f"{self.repository} 没有版本 “{self.commit}”；请在 @ 后给出分支、标签或提交",
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            return EncoderError(
                name=self.name,
                detail=f"there is no file or folder {self.repository} here, and no such repository on Hugging Face; "
                "mend the name, or log in if it is private (hf auth login)",
                detail_zh=f"此处没有文件或文件夹 {self.repository}，Hugging Face 上也没有此仓库；请更正名称，"
                "若为私有仓库请先登录（hf auth login）",
            )
        reason, reason_zh = both(error) if isinstance(error, Reason) else (one_line(error), one_line(error))
        return EncoderUnavailable(
            name=self.name,
            detail=f"Hugging Face does not give {self.repository} ({reason}); try again, or where there is a network "
            f"run: {self._download()}; and here, with that folder: multimodal-dql encoders add {self.name}",
            detail_zh=f"无法从 Hugging Face 取得 {self.repository}（{reason_zh}）；请重试，或在能联网的机器上运行："
            f"{self._download()}，把该文件夹拷到这里后运行：multimodal-dql encoders add {self.name}",
        )


def fetch_model(name: str, repository: str, revision: str, modality: Modality | None) -> Repository:
    """The repository with everything fetched that an encoder needs.

    Raises:
        EncoderUnavailable: the hub is out of reach, or wants a login.
        EncoderError: there is no such model, it is not safe, or not one that is known here.

    """
    found = Repository(name, repository, revision)
    found.fetch([*LICENCE_FILES, *CONFIG_FILES, *SENTENCE_FILES, *TOKENIZER_FILES])
    if "saved_model.pb" in found.files:
        inside = ("variables/", "assets/")
        found.fetch([p for p in found.files if p == "saved_model.pb" or p.startswith(inside)])
        return found
    if "model.json" in found.files and "modules.json" not in found.files:
        found.fetch(["model.json", WEIGHTS])
        return found
    if not {"config.json", "modules.json"} & {*found.files}:
        lone = [p for p in found.files if "/" not in p and p.endswith((".onnx", ".tflite"))]
        if len(lone) != 1:
            raise found.pickles()
        chosen = lone[0]
    else:
        check_folder(name, found.folder)
        if "modules.json" in found.files:
            _fetch_modules(found)
        else:
            modality_of(name, found.folder, modality)  # asks before the weights are fetched
        named = weights_among(name, found.files)
        if named is None:
            raise found.pickles()
        chosen = named
    if chosen == WEIGHTS:
        need_torch(name)
    found.fetch([chosen])
    if chosen.endswith(".onnx"):
        _fetch_outside(found, chosen)
    return found


def _fetch_modules(found: Repository) -> None:
    """Settings and weights of the small modules that follow a transformer in sentence-transformers."""
    for module in read_modules(found.name, found.folder / "modules.json"):
        folder = module.get("path") if isinstance(module, dict) else None
        if folder and isinstance(folder, str):
            found.fetch([f"{folder}/config.json", f"{folder}/{WEIGHTS}"])


def _fetch_outside(found: Repository, model: str) -> None:
    """Files beside an ONNX model that hold its weights."""
    try:
        outside = sorted(read_onnx(found.folder / model).locations)
    except (ValueError, OSError, RecursionError):
        return  # whoever opens the model says so
    found.fetch([(PurePosixPath(model).parent / location).as_posix() for location in outside])


def _git_hash(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
