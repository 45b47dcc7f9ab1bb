"""Values in a log that look as if they named a person or a device.

A pattern finds candidates, a second rule keeps false alarms low:

- Where a check digit or a date tells (IMEI, resident ids), it must be right, and of the numbers of that length in the
  column more must be right than chance gives: half of them for IMEI and bare mobile numbers (chance: a tenth), one in
  a thousand for resident ids (chance: one in 30,000).
- Nothing is found inside a longer word, so that hashes and ids such as ``s123`` pass.
- A UUID in ``event_id``, ``item_id``, ``candidates`` or ``action`` names an event or a variant; of one that is all of a
  ``session_id``, `session_ids` finds out what it names. Anywhere else nobody can tell it from an advertising id (IDFA,
  GAID are UUIDs), so it is found.
- Names of things (stories, variants, policies, versions) are not searched for phone numbers in national notation, and
  versions not for IP addresses, which look the same.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["KINDS", "UUID", "Finding", "Identifiers", "hidden", "luhn", "resident_check"]

KINDS = {
    "mail": ("mail addresses", "邮箱地址"),
    "phone": ("phone numbers", "电话号码"),
    "uuid": ("device ids (UUIDs such as IDFA, GAID)", "设备标识（UUID，如 IDFA、GAID）"),
    "imei": ("IMEI numbers", "IMEI"),
    "mac": ("MAC addresses", "MAC 地址"),
    "ip": ("IP addresses", "IP 地址"),
    "resident id": ("Chinese resident ids", "身份证号码"),
}
"""Kind -> what it is called in English and Chinese."""
UUID = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
"""Pattern of one."""
THINGS = ("event_id", "item_id", "candidates", "action", "policy", "model_version", "catalogue_fingerprint")
VERSIONS = ("policy", "model_version", "catalogue_fingerprint")
# What is surely none of them: a short number with or without decimals, a word with a short number.
_PLAIN = r"^-?[0-9]{0,9}(\.[0-9]*)?(e[-+]?[0-9]+)?$|^[A-Za-z_-]*[0-9]{0,6}$"
_EDGE, _END = r"(?:^|[^0-9A-Za-z_])", r"(?:$|[^0-9A-Za-z_])"
_FILES = (
    "png",
    "jpg",
    "jpeg",
    "gif",
    "webp",
    "svg",
    "avif",
    "heic",
    "mp3",
    "mp4",
    "wav",
    "ogg",
    "flac",
    "css",
    "js",
)


@dataclass(frozen=True)
class _Rule:
    """One pattern.

    Attributes:
        kind: of `KINDS`.
        pattern: RE2, without looking around.
        right: what else must hold.
        share: of the values with that pattern, how many must be right.
        things: searched for in names of things too.
    """

    kind: str
    pattern: str
    right: Callable[[str], bool] = lambda _: True
    share: float = 0.0
    things: bool = True


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (Luhn 1960), as in an IMEI."""
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 * (d > 9) for d in doubled) % 10 == 0


def resident_check(text: str) -> bool:
    """Whether 18 characters are a Chinese resident id: region, date of birth, check digit (GB 11643-1999)."""
    try:
        born = date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    weights = [2 ** (17 - i) % 11 for i in range(17)]
    total = sum(int(d) * w for d, w in zip(text[:17], weights, strict=True))
    return (
        text[0] in "12345678"
        and date(1900, 1, 1) <= born <= date.today()
        and "10X98765432"[total % 11] == text[17].upper()
    )


def _mail(text: str) -> bool:
    return text.rsplit(".", 1)[-1].lower() not in _FILES  # logo@2x.png is a picture


def _address(text: str) -> bool:
    """A routable or private address, not a time, a version or 'this machine'."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_unspecified)


_RULES = (
    _Rule("mail", r"[\pL\pN._%+-]+@(?:[\pL\pN-]+\.)+\pL{2,}", _mail),
    _Rule("phone", r"\+[1-9][0-9 ().-]{6,18}[0-9]", lambda t: 8 <= sum(c.isdigit() for c in t) <= 15),
    _Rule("phone", r"(?:\+?86[ -]?)1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}"),
    _Rule("phone", r"1[3-9][0-9][ -][0-9]{4}[ -][0-9]{4}", things=False),
    _Rule("phone", r"[0-9]{11}", lambda t: t[0] == "1" and t[1] >= "3", share=0.5, things=False),
    _Rule("phone", r"0[0-9]{2,3}-[0-9]{7,8}", things=False),
    _Rule("phone", r"\(?[2-9][0-9]{2}\)?[ .-][2-9][0-9]{2}[ .-][0-9]{4}", things=False),
    _Rule("uuid", UUID, lambda t: len(set(t)) > 3, things=False),
    _Rule("imei", r"[0-9]{15}", luhn, share=0.5),
    _Rule("mac", r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}"
          r"|(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}"),
    _Rule("ip", r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", _address),
    _Rule("ip", r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}", _address),
    _Rule("resident id", r"[0-9]{17}[0-9Xx]", resident_check, share=1e-3),
)  # fmt: skip
_PATTERNS = [f"{_EDGE}(?:{rule.pattern}){_END}" for rule in _RULES]
# Python's `re` knows no \pL; letters and digits of all scripts are \w there.
_EXACT = [
    re.compile(
        r"(?<![0-9A-Za-z_])(?:" + rule.pattern.replace(r"\pL{2,}", r"[^\W\d_]{2,}").replace(r"\pL\pN", r"\w")
        + r")(?![0-9A-Za-z_])"
    )
    for rule in _RULES
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """Values of one kind in one column.

    Attributes:
        column: its name; ``context.NAME`` for a value of the context.
        kind: of `KINDS`.
        values: how many, of those looked at.
        example: the first, all but two characters hidden.
        why: what else speaks for it.
        why_zh: the same in Chinese.
    """

    column: str
    kind: str
    values: int
    example: str
    why: str = ""
    why_zh: str = ""

    def text(self, lang: str) -> str:
        """One line in ``en`` or ``zh``."""
        en, zh = KINDS[self.kind]
        if lang == "zh":
            more = f"：{self.why_zh}" if self.why_zh else ""
            return f"列 {self.column} 有 {self.values:,} 个值像{zh}（如 {self.example}）{more}"
        more = f": {self.why}" if self.why else ""
        return f"column {self.column} holds {self.values:,} values that look like {en} (e.g. {self.example}){more}"


class Identifiers:
    """Looks for identifiers in batches of columns.

    Attributes:
        values: looked at so far, each distinct text of a batch once.
    """

    def __init__(self) -> None:
        self.values = 0
        self._right: dict[tuple[str, int], int] = {}
        self._alike: dict[tuple[str, int], int] = {}
        self._example: dict[tuple[str, int], str] = {}

    def look(self, column: str, texts: Any) -> None:
        """Look at a `pyarrow` string array."""
        texts = texts.drop_null().unique()
        self.values += len(texts)
        plain = f"{_PLAIN}|^{UUID}$" if column == "session_id" else _PLAIN
        texts = texts.filter(pc.invert(pc.match_substring_regex(texts, plain)))
        if not len(texts):
            return
        for k, rule in enumerate(_RULES):
            if _spared(column, rule):
                continue
            for text in texts.filter(pc.match_substring_regex(texts, _PATTERNS[k])).to_pylist():
                found = _EXACT[k].findall(text)
                right = [value for value in found if rule.right(value)]
                key = (column, k)
                self._alike[key] = self._alike.get(key, 0) + bool(found)
                if right:
                    self._right[key] = self._right.get(key, 0) + 1
                    self._example.setdefault(key, hidden(right[0]))

    def look_at_context(self, held: Any) -> None:
        """Look at the values of a map array, name by name."""
        pair = pa.struct([pa.field("key", pa.string()), pa.field("value", pa.string())])
        flat = held.cast(pa.list_(pair)).flatten()
        keys, values = flat.field("key").dictionary_encode(), flat.field("value")
        code = keys.indices.to_numpy(zero_copy_only=False)
        for k, name in enumerate(keys.dictionary.to_pylist()[:200]):
            self.look(f"context.{name}", values.filter(pa.array(code == k)))

    def look_at(self, table: pa.Table, extra: Mapping[str, Any]) -> None:
        """Look at all texts of some rows: columns of the schema, and those that it does not know."""
        for name in table.column_names:
            column = table[name].combine_chunks() if isinstance(table[name], pa.ChunkedArray) else table[name]
            if pa.types.is_map(column.type):
                self.look_at_context(column)
            elif pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type):
                self.look(name, column.flatten())
            elif pa.types.is_string(column.type):
                self.look(name, column)
        for name, texts in extra.items():
            self.look(name, texts)

    @property
    def findings(self) -> list[Finding]:
        """What was found, column by column."""
        out: dict[tuple[str, str], Finding] = {}
        for (column, k), right in sorted(self._right.items()):
            rule = _RULES[k]
            if right < rule.share * self._alike[column, k]:
                continue
            before = out.get((column, rule.kind))
            count = max(right, before.values if before else 0)  # one value may fit several patterns
            example = before.example if before else self._example[column, k]
            out[column, rule.kind] = Finding(column, rule.kind, count, example)
        return list(out.values())


def _spared(column: str, rule: _Rule) -> bool:
    """Whether a column is not searched by a rule; an event id is made per person, as other names of things are not."""
    if column in VERSIONS and rule.kind == "ip":
        return True
    return not rule.things and column in THINGS and (column != "event_id" or rule.kind == "uuid")


def hidden(text: str) -> str:
    """A value that may be shown: its first two characters."""
    return text[:2] + "*" * min(len(text) - 2, 10)
