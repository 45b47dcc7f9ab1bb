"""Why something cannot be used, in both languages: the part of an error's line that names the cause."""

from __future__ import annotations

from pydantic import ValidationError

__all__ = ["Reason", "both", "first_fault"]

_FAULTS_ZH = {
    "missing": "缺少该字段",
    "extra_forbidden": "没有这个字段",
    "string_pattern_mismatch": "格式须符合 {pattern}",
    "string_too_short": "不能为空",
    "string_too_long": "至多 {max_length} 个字符",
    "string_type": "须为字符串",
    "int_type": "须为整数",
    "int_parsing": "须为整数",
    "int_from_float": "须为整数",
    "greater_than_equal": "不得小于 {ge}",
    "less_than_equal": "不得大于 {le}",
    "literal_error": "须为 {expected} 之一",
    "too_short": "至少要有 {min_length} 项",
    "too_long": "至多 {max_length} 项",
    "union_tag_invalid": "没有来源 {tag}；可用的有 {expected_tags}",
    "tuple_type": "须为列表",
    "dict_type": "须为表",
    "model_type": "须为表",
}
"""What is wrong with a field, by the name that pydantic gives the mistake; its own words are English."""


class Reason(ValueError):
    """A cause that is known here; `str` is English, `zh` Chinese."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.zh = zh


def both(error: BaseException) -> tuple[str, str]:
    """The cause in English and Chinese; what a library says, its first line, is the same in both."""
    if isinstance(error, Reason):
        return str(error), error.zh
    if isinstance(error, RecursionError):
        return "it is nested too deeply", "嵌套过深"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not {error.encoding}", f"不是 {error.encoding} 编码"
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return said, said


def first_fault(error: ValidationError) -> tuple[str, str, str]:
    """The field of a card that is wrong first, and how, in English and Chinese."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "card"
    said = first.get("ctx", {})
    if isinstance(own := said.get("error"), Reason):
        return field, first["msg"], own.zh
    template = _FAULTS_ZH.get(first["type"], "值无效")
    return field, first["msg"], template.format(**said)
