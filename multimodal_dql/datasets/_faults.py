"""The sentences of everything that can be wrong with a catalogue's rows or texts, in both languages, by
code.
"""

from __future__ import annotations

from typing import Any

from multimodal_dql.errors import DataFinding, RowFault

__all__ = ["data_finding", "row_fault", "shown"]

# code: (English, Chinese); fields are formatted in. What is wrong, then the cure.
_ROW: dict[str, tuple[str, str]] = {
    "not_json": (
        "is not one JSON object ({reason}); write one object {{...}} on each line",
        "不是一个 JSON 对象（{reason}）；每行写一个 {{...}}",
    ),
    "not_csv": (
        "cannot be split into columns ({reason}), so the rest is not read; check the quotes",
        "无法分列（{reason}），其后未读；请检查引号",
    ),
    "field_count": (
        "has {have} fields but the header has {want}; quote texts that hold the separator",
        "有 {have} 个字段，而表头有 {want} 个；含分隔符的文字请加引号",
    ),
    "no_caption": ("is empty; write the caption, or leave the row out", "为空；请写上配文，或删去该行"),
    "no_summary": (
        "'{name}' is no vote summary; write it as 560_summary_KLUCB (contest, policy)",
        "“{name}” 不是投票汇总；请写成 560_summary_KLUCB（场次、策略）",
    ),
    "twice_in_row": ("is given twice in one row; keep one", "在同一行出现两次；请只留一个"),
    "needed": (
        "is empty; give every variant an item_id and a variant_id",
        "为空；每个变体都需要 item_id 和 variant_id",
    ),
    "not_text": ("is {kind}, not text; write it in quotes", "是 {kind}，不是文本；请写成带引号的文本"),
    "half_character": (
        "holds half a character (a lone surrogate); write the text again as UTF-8",
        "含有半个字符（孤立智能体项）；请以 UTF-8 重新写入",
    ),
    "id_too_long": ("has {length} characters; use at most {limit}", "有 {length} 个字符；最多 {limit} 个"),
    "control": ("holds a control character ({char}); remove it", "含有控制字符（{char}）；请删除"),
    "url": (
        "is a web address, which is never fetched; save the file and give its path",
        "是网址，不会下载；请先保存文件再填写路径",
    ),
    "backslash": ("uses backslashes; write '{better}'", "使用了反斜杠；请写成 “{better}”"),
    "not_count": ("is '{value}', not a whole number; write digits only", "“{value}” 不是整数；请只写数字"),
    "negative": ("is {value}; counts cannot be negative", "是 {value}；次数不能为负"),
    "too_big": ("is larger than 2^53; check the column", "大于 2^53；请检查该列"),
    "clicks_over": (
        "{clicks} clicks are more than {impressions} impressions; correct one of the two",
        "点击 {clicks} 次多于展示 {impressions} 次；请改正其一",
    ),
    "nothing_to_show": (
        "the variant has no image, caption or audio; give at least one",
        "该变体没有图片、文字和声音；请至少给出一个",
    ),
    "duplicate": (
        "variant '{variant}' of item '{item}' is already on {row} {line}; rename or remove one",
        "条目 “{item}” 的变体 “{variant}” 已在第 {line} 行；请改名或删除其一",
    ),
    "one_variant": (
        "has one variant only, so there is nothing to choose; add a second or remove the item",
        "只有一个变体，无从选择；请补充第二个或删除该条目",
    ),
    "near_column": (
        "column '{column}' is not known and is kept as it is; did you mean '{near}'?",
        "未知列 “{column}” 按原样保留；是否想写 “{near}”？",
    ),
}

_FINDING: dict[str, tuple[str, str]] = {
    "same_variant": (
        "variants {variants} are the same in every way; keep one and add up the counts",
        "变体 {variants} 完全相同；请只留一个并合并计数",
    ),
    "same_caption": (
        "variants {variants} share one caption while others differ; check that it is meant",
        "变体 {variants} 文字相同而其他不同；请确认是否有意",
    ),
    "same_image": (
        "variants {variants} share one picture while others differ; check that it is meant",
        "变体 {variants} 图片相同而其他不同；请确认是否有意",
    ),
    "same_audio": (
        "variants {variants} share one sound while others differ; check that it is meant",
        "变体 {variants} 声音相同而其他不同；请确认是否有意",
    ),
    "headline_elsewhere": (
        "the headline {caption} is also in {items}; a split into training and test would leak it",
        "标题 {caption} 也出现在 {items}；划分训练集和测试集时会泄漏",
    ),
    "silent": ("the sound is silent; check the export", "声音是静音；请检查导出"),
    "blank": (
        "the caption is only white space; write a text or leave it empty",
        "文字只有空白；请写文字或留空",
    ),
    "long": (
        "the caption has {length} characters; headlines beyond {limit} are cut by encoders",
        "文字有 {length} 个字符；超过 {limit} 的标题会被编码器截断",
    ),
    "control": (
        "the caption holds a control character ({char}); remove it",
        "文字含有控制字符（{char}）；请删除",
    ),
    "replacement": (
        "the caption holds U+FFFD, so characters were lost; export it again as UTF-8",
        "文字含有 U+FFFD，字符已丢失；请以 UTF-8 重新导出",
    ),
    "mojibake": (
        "the caption looks like UTF-8 read as {charset} ({guess}); export it again as UTF-8",
        "文字像是 UTF-8 被当作 {charset} 读取（{guess}）；请以 UTF-8 重新导出",
    ),
    "html": ("the caption holds markup ({tag}); keep the plain text", "文字含有标记（{tag}）；请只留纯文本"),
    "capitals": ("the caption is all capitals; write it as it is shown", "文字全是大写；请按展示的样子写"),
    "unequal": (
        "impressions {counts} are too unequal for equal shares (p = {p:.1e});"
        " unless a policy chose on purpose, do not compare the variants",
        "展示次数 {counts} 与均分相差过大（p = {p:.1e}）；若非策略有意为之，不宜比较",
    ),
}


def row_fault(code: str, **fields: Any) -> RowFault:
    """What is wrong with a row. `code` is a key of the table above."""
    en, zh = _ROW[code]
    return RowFault(code=code, detail=en.format(**fields), detail_zh=zh.format(**fields))


def data_finding(code: str, **fields: Any) -> DataFinding:
    """What the data-quality check noticed. `code` is a key of the table above."""
    en, zh = _FINDING[code]
    return DataFinding(code=code, detail=en.format(**fields), detail_zh=zh.format(**fields))


def shown(text: object, limit: int = 60) -> str:
    """A value from the user's file, short and on one line, for use inside a message."""
    plain = "".join(c if c.isprintable() else "?" for c in str(text))
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"
