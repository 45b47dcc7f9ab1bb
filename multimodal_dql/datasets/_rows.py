"""One row of a catalogue, validated. Values come from three formats; the same text must come out of each."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from multimodal_dql.datasets._faults import row_fault, shown
from multimodal_dql.errors import RowFault

__all__ = ["COLUMNS", "Row", "read_row"]

_MAX_ID = 200  # characters
_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_HALF = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|data:", re.ASCII)


def _wrong(code: str, **fields: Any) -> PydanticCustomError:
    # The sentence is written by `row_fault`, in two languages; pydantic only carries the code and the fields.
    return PydanticCustomError("row", "wrong", {"code": code, "fields": fields})


def _text(value: Any) -> str | None:
    """Text as it is; numbers as their shortest digits, so that 7 and 7.0 in one column are both '7'; None
    if empty.
    """
    if type(value) is str and value.isascii():  # nearly all of them
        return value or None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _wrong("not_text", kind=type(value).__name__)
    if _HALF.search(value):
        raise _wrong("half_character")
    return value or None


def _id(value: Any) -> str:
    text = (_text(value) or "").strip()
    if not text:
        raise _wrong("needed")
    if len(text) > _MAX_ID:
        raise _wrong("id_too_long", length=len(text), limit=_MAX_ID)
    return _no_control(text)


def _path(value: Any) -> str | None:
    text = (_text(value) or "").strip()
    if not text:
        return None
    if _URL.match(text):
        raise _wrong("url")
    if "\\" in text:
        raise _wrong("backslash", better=shown(text.replace("\\", "/"), 100))
    return _no_control(text)


def _no_control(text: str) -> str:
    if not text.isprintable() and (found := _CONTROL.search(text)):
        raise _wrong("control", char=f"U+{ord(found.group()):04X}")
    return text


def _count(value: Any) -> int:
    """A count; missing is 0. Tables with gaps turn 12 into 12.0, which is accepted, and 12.5, which is
    not.
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _wrong("not_count", value=shown(value))
    digits = str(value).strip()
    if isinstance(value, float) and value.is_integer():
        digits = str(int(value))
    if not digits:
        return 0
    if not _WHOLE.fullmatch(digits) or len(digits) > 40:
        raise _wrong("not_count", value=shown(value))
    count = int(digits.split(".")[0])
    if count < 0:
        raise _wrong("negative", value=count)
    if count > 2**53:
        raise _wrong("too_big")
    return count


class Row(BaseModel):
    """The known columns of one row. Media are paths as written."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    item_id: Annotated[str, BeforeValidator(_id)]
    variant_id: Annotated[str, BeforeValidator(_id)]
    image: Annotated[str | None, BeforeValidator(_path)] = None
    caption: Annotated[str | None, BeforeValidator(_text)] = None
    audio: Annotated[str | None, BeforeValidator(_path)] = None
    impressions: Annotated[int, BeforeValidator(_count)] = 0
    clicks: Annotated[int, BeforeValidator(_count)] = 0


COLUMNS = tuple(Row.model_fields)


def read_row(values: Mapping[str, Any]) -> tuple[Row | None, dict[str, str], list[tuple[str, RowFault]]]:
    """Validate one row: (row or None, free columns as text, everything that is wrong as (field, fault))."""
    faults: list[tuple[str, RowFault]] = []
    row: Row | None = None
    known: dict[str, Any] = {"item_id": None, "variant_id": None}
    known |= {name: value for name, value in values.items() if name in COLUMNS}
    try:
        row = Row.model_validate(known)
    except ValidationError as error:
        for found in error.errors():
            told = found["ctx"]
            faults.append((str(found["loc"][0]), row_fault(told["code"], **told["fields"])))
    if row is not None:
        if row.clicks > row.impressions:
            fault = row_fault("clicks_over", clicks=row.clicks, impressions=row.impressions)
            faults.append(("clicks", fault))
        if not (row.image or row.audio or (row.caption or "").strip()):
            faults.append(("caption", row_fault("nothing_to_show")))
    extra: dict[str, str] = {}
    for name, value in values.items():
        if name not in COLUMNS and (text := _free(value)) is not None:
            if _HALF.search(name + text):
                faults.append((shown(name), row_fault("half_character")))
            extra[name] = text
    return (None if faults else row), extra, faults


def _free(value: Any) -> str | None:
    """A free column as text: None when empty, ISO 8601 for times, JSON for lists and objects."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return str(value)
