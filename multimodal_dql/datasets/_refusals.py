"""Why a picture or sound is refused: one code, one error class and one sentence in each language.

The decoder process knows codes and numbers only; the sentences are written here, in the parent, so that
nothing a hostile file makes the decoder say reaches the user as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multimodal_dql import errors

__all__ = ["Refusal", "refusal_error"]


class Refusal(Exception):
    """A file is refused. `code` is a key of the table below, `fields` are what its sentence names."""

    def __init__(self, code: str, **fields: str | float) -> None:
        super().__init__(code)
        self.code = code
        self.fields = fields


_READ_PICTURES = "PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF"
_READ_SOUNDS = "WAV, FLAC, OGG, MP3"

# code: (class, English, Chinese). Fields are formatted in; every sentence ends with the cure.
_TABLE: dict[str, tuple[type[errors.MediaError], str, str]] = {
    "missing": (
        errors.MediaMissing,
        "there is no such file; correct the path, which counts from the catalogue's folder",
        "没有这个文件；请改正路径（相对于目录文件所在的文件夹）",
    ),
    "not_a_file": (
        errors.MediaNotAFile,
        "is {kind}, not a file; give the path of a picture or sound file",
        "这是{kind_zh}，不是文件；请给出图片或声音文件的路径",
    ),
    "unreadable": (
        errors.MediaUnreadable,
        "cannot be opened ({reason}); check the path and its permissions",
        "无法打开（{reason}）；请检查路径和权限",
    ),
    "empty": (
        errors.MediaFormatError,
        "the file is empty (0 bytes); export it again",
        "文件是空的（0 字节）；请重新导出",
    ),
    "file_too_large": (
        errors.MediaTooLarge,
        "{megabytes:,.0f} MB is more than the budget of {budget:,.0f} MB a file; export it smaller",
        "文件有 {megabytes:,.0f} MB，超过每个文件 {budget:,.0f} MB 的上限；请导出小一些",
    ),
    "not_a_picture": (
        errors.MediaFormatError,
        "is {seen}, not a picture that can be read; export it as one of " + _READ_PICTURES,
        "这是{seen_zh}，不是可读取的图片；请导出为 " + _READ_PICTURES + " 之一",
    ),
    "not_a_sound": (
        errors.MediaFormatError,
        "is {seen}, not a sound that can be read; export it as one of " + _READ_SOUNDS,
        "这是{seen_zh}，不是可读取的声音；请导出为 " + _READ_SOUNDS + " 之一",
    ),
    "picture_too_large": (
        errors.MediaTooLarge,
        "{width:,} x {height:,} pixels is over the budget of {budget:,.0f} million; export it smaller",
        "{width:,} x {height:,} 像素，超过 {budget:,.0f} 百万像素的上限；请导出小一些",
    ),
    "picture_damaged": (
        errors.MediaDamaged,
        "the picture is damaged or cut short ({reason}); export it again",
        "图片已损坏或不完整（{reason}）；请重新导出",
    ),
    "sound_damaged": (
        errors.MediaDamaged,
        "the sound is damaged or cut short ({reason}); export it again",
        "声音已损坏或不完整（{reason}）；请重新导出",
    ),
    "sound_cut_short": (
        errors.MediaDamaged,
        "the sound is cut short: {have:,.0f} of {want:,.0f} announced {unit} are there; export it again",
        "声音不完整：应有 {want:,.0f} {unit_zh}，只有 {have:,.0f}；请重新导出",
    ),
    "sound_no_length": (
        errors.SoundInvalid,
        "its header does not say how long the sound is, as when streamed; save it again as a file",
        "文件头没有说明声音长度（如流式录制）；请重新保存为文件",
    ),
    "sound_too_long": (
        errors.MediaTooLarge,
        "{seconds:,.1f} seconds is more than the budget of {budget:,.0f} seconds; cut a teaser from it",
        "时长 {seconds:,.1f} 秒，超过 {budget:,.0f} 秒的上限；请剪成短片段",
    ),
    "sound_channels": (
        errors.SoundInvalid,
        "{channels:,} channels is more than {budget}; export it as mono or stereo",
        "{channels:,} 个声道，超过 {budget} 个；请导出为单声道或立体声",
    ),
    "sound_rate": (
        errors.SoundInvalid,
        "a sample rate of {rate:,} Hz is outside {low:,} to {high:,} Hz; export it at 16,000 to 48,000 Hz",
        "采样率 {rate:,} Hz 不在 {low:,} 到 {high:,} Hz 之间；请以 16,000 到 48,000 Hz 导出",
    ),
    "sound_no_samples": (
        errors.SoundInvalid,
        "the sound has no samples (zero length); export it again",
        "声音没有采样（长度为零）；请重新导出",
    ),
    "sound_not_finite": (
        errors.SoundInvalid,
        "the sound holds samples that are not numbers (NaN or infinite); export it again, best as 16-bit",
        "声音中有非数值的采样（NaN 或无穷大）；请重新导出，最好用 16 位",
    ),
    "crashed": (
        errors.DecoderFailed,
        "decoding it crashed; export it again with another program",
        "解码时崩溃；请用其他软件重新导出",
    ),
    "timeout": (
        errors.DecoderFailed,
        "decoding it took longer than {seconds:g} seconds; export it smaller, or again with another program",
        "解码超过 {seconds:g} 秒；请导出小一些，或用其他软件重新导出",
    ),
    "memory": (
        errors.DecoderFailed,
        "decoding it needed more memory than {megabytes:,.0f} MB; export it smaller",
        "解码所需内存超过 {megabytes:,.0f} MB；请导出小一些",
    ),
}

# What a refused file was seen to be: sentences for the keys that `_files.kind_of_bytes` gives.
_SEEN: dict[str, tuple[str, str]] = {
    "svg": ("an SVG drawing (a program, not pixels)", " SVG 矢量图（是程序，不是像素）"),
    "html": ("a web page", "网页"),
    "text": ("a text file", "文本文件"),
    "pdf": ("a PDF document", " PDF 文档"),
    "zip": ("an archive or office document", "压缩包或办公文档"),
    "gzip": ("a gzip archive", " gzip 压缩包"),
    "heic": ("a HEIC picture", " HEIC 图片"),
    "video": ("a video or AAC file", "视频或 AAC 文件"),
    "picture": ("a picture", "图片"),
    "sound": ("a sound", "声音"),
    "unknown": ("in a format that is not known here", "无法识别的格式"),
}

_KINDS: dict[str, tuple[str, str]] = {
    "folder": ("a folder", "文件夹"),
    "fifo": ("a FIFO (named pipe)", "命名管道"),
    "socket": ("a socket", "套接字"),
    "device": ("a device", "设备"),
    "special": ("something special", "特殊文件"),
}
_UNITS: dict[str, tuple[str, str]] = {"bytes": ("bytes", "字节"), "samples": ("samples", "个采样")}


def refusal_error(path: Path, code: str, fields: Mapping[str, Any]) -> errors.MediaError:
    """The error for `code`. Raises KeyError for an unknown code and ValueError for fields that do not fit
    it.
    """
    kind, en, zh = _TABLE[code]
    known = dict(fields)
    for name, table in (("seen", _SEEN), ("kind", _KINDS), ("unit", _UNITS)):
        if name in known:
            known[name], known[f"{name}_zh"] = table[str(known[name])]
    return kind(path=str(path), code=code, detail=en.format(**known), detail_zh=zh.format(**known))
