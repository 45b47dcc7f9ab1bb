from __future__ import annotations

import pytest

from multimodal_dql.datasets._charset import UnknownEncodingError, decode_text, looks_chinese

CHINESE = [
    "这家小店的咖啡为什么卖得这么好",
    "暴雨之后，老城区的居民这样自救",
    "梅西宣布加盟迈阿密国际",  # mostly names: few frequent characters
    "周末去哪里看展？编辑推荐这五处",
]
CAPTIONS = {
    "traditional Chinese": "這家小店的咖啡為什麼賣得這麼好\n夏天來了，孩子們最愛的十個地方",
    "Japanese": "夏の京都で食べたい冷たい菓子\n駅前の小さな店が人気の理由とは\n新しい東京の歩き方",
    "Korean": "이 작은 가게의 커피가 잘 팔리는 이유\n주말에 어디로 갈까\n새로운 뉴스 제목을 쓰는 법",
    "Russian": "Почему кофе в этой лавке так хорош\nКуда пойти в выходные\nНОВОСТИ ДНЯ",
    "French": "Un café à Orléans, l'été déjà là\nOù aller ? Noël à Besançon\nnaïve façade",
    "German": "Größe zählt: Überraschung für Jäger\nSchöne Füße\nÄÖÜ",
    "Greek": "Γιατί ο καφές εδώ είναι καλός",
    "Thai": "ทำไมกาแฟร้านนี้ขายดี",
}


def as_csv(captions: str) -> str:
    rows = [f"s1,v{n},{caption}\n" for n, caption in enumerate(captions.split("\n"))]
    return "item_id,variant_id,caption\n" + "".join(rows)


@pytest.mark.parametrize("caption", CHINESE)
@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "gbk", "gb18030"])
def test_chinese_reads_back(caption: str, charset: str) -> None:
    text = as_csv(caption)
    assert decode_text(text.encode(charset), gb18030=True) == text


def test_gb18030_with_emoji_and_punctuation_reads_back() -> None:
    text = as_csv("🎉 好消息！“夏天”来了……\n这一天，他们等了十年 😂")
    assert decode_text(text.encode("gb18030"), gb18030=True) == text


@pytest.mark.parametrize(
    ("language", "charset"),
    [
        ("traditional Chinese", "big5"),
        ("Japanese", "shift_jis"),
        ("Japanese", "euc_jp"),
        ("Korean", "euc_kr"),
        ("Russian", "cp1251"),
        ("Russian", "koi8-r"),
        ("French", "latin-1"),
        ("French", "mac_roman"),
        ("German", "cp1252"),
        ("Greek", "iso8859-7"),
        ("Thai", "tis-620"),
    ],
)
def test_other_encodings_are_refused_not_turned_into_garbage(language: str, charset: str) -> None:
    data = as_csv(CAPTIONS[language]).encode(charset)
    with pytest.raises(UnknownEncodingError, match="is not UTF-8 or GB18030 text"):
        decode_text(data, gb18030=True)


def test_every_line_of_other_encodings_is_refused_on_its_own() -> None:
    for line in CAPTIONS["French"].split("\n") + CAPTIONS["German"].split("\n"):
        with pytest.raises(UnknownEncodingError):
            decode_text(line.encode("latin-1"), gb18030=True)


def test_the_place_of_the_first_odd_byte_is_named() -> None:
    with pytest.raises(UnknownEncodingError, match=r"byte 0xE9 in line 3"):
        decode_text(b"item_id\na\ncaf\xe9\n", gb18030=True)


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-32"])
def test_utf16_is_named(charset: str) -> None:
    with pytest.raises(UnknownEncodingError, match="UTF-16 or binary"):
        decode_text(as_csv("好").encode(charset), gb18030=True)


def test_gb18030_is_not_tried_where_the_format_is_utf8() -> None:
    with pytest.raises(UnknownEncodingError, match="is not UTF-8 text"):
        decode_text(CHINESE[0].encode("gb18030"), gb18030=False)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("这一天他们等了十年", True),
        ("“这一天”，他们等了十年……", True),
        ("no hanzi at all", False),
        ("的一是不了丂丄丅丆丏", False),  # half of it rare: Big5 and Shift-JIS read as GB18030
        ("捞累篮啊霸狼目乔啊肋迫府绰捞蜡", False),  # common but never frequent: Korean
        ("的货 肺款 春的 力格 阑一 静绰 过是", False),  # a blank after every second one: Korean
        ("的一是不了ここにあるとは", False),  # mostly kana: Japanese as EUC
        ("的一是不了在人有我他这个们中来上\ue000", False),  # private use
    ],
)
def test_each_sign_of_misreading(text: str, verdict: bool) -> None:
    assert looks_chinese(text) is verdict
