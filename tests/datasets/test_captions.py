from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_dql.datasets._captions import normalised, suspicious


def codes(caption: str) -> list[str]:
    return [finding.fields["code"] for finding in suspicious(caption)]


@pytest.mark.parametrize(
    "caption",
    [
        "Why this café sells out before nine",
        "NASA, FBI & the EU",  # a few capitals are fine, an ampersand is no markup
        "IKEA 2024",
        "这家小店的咖啡为什么卖得这么好",
        "联通",  # two characters whose GB18030 bytes are valid UTF-8
        "מדוע הקפה כאן טוב כל כך",
        "لماذا القهوة هنا جيدة",
        "夏天来了 👩‍👩‍👧‍👦🎉",
        "Größe zählt: 5 < 7 and 9 > 3",
        "x" * 300,
        "two\nlines",
        "Ünïcödé façade",
    ],
)
def test_good_captions(caption: str) -> None:
    assert codes(caption) == []


@pytest.mark.parametrize(
    ("caption", "code"),
    [
        (" \t\n ", "blank"),
        ("\u3000", "blank"),
        ("x" * 301, "long"),
        ("a\x07b", "control"),
        ("a\x00b", "control"),
        ("abc \u202egnp.exe", "control"),
        ("caf\ufffd", "replacement"),
        ("锟斤拷锟斤拷", "replacement"),
        ("<b>Rain</b> tomorrow", "html"),
        ("Rain <br/> tomorrow", "html"),
        ("Rain &amp; wind", "html"),
        ("RAIN TOMORROW IN THE NORTH", "capitals"),
        ("ДОЖДЬ ЗАВТРА УТРОМ", "capitals"),
    ],
)
def test_suspicious_captions(caption: str, code: str) -> None:
    assert codes(caption) == [code]


@pytest.mark.parametrize("text", ["café Noël", "新闻标题", "Größe", "это новости", "夏天来了🎉", "“quoted”"])
def test_utf8_read_as_windows_1252_is_seen(text: str) -> None:
    # As browsers decode it: the five undefined bytes become control characters.
    misread = "".join(
        bytes([b]).decode("latin-1" if b in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else "cp1252")
        for b in text.encode()
    )
    (finding,) = (f for f in suspicious(misread) if f.fields["code"] == "mojibake")
    assert text[:5] in str(finding)
    assert "Windows-1252" in str(finding)


@pytest.mark.parametrize("text", ["新闻", "夏天来了", "今天有雨"])
def test_utf8_read_as_gb18030_is_seen(text: str) -> None:
    (finding,) = suspicious(text.encode().decode("gb18030"))
    assert finding.fields["code"] == "mojibake"
    assert text in str(finding)


def test_several_findings_of_one_caption() -> None:
    assert codes("<H1>" + "BREAKING " * 50 + "</H1>\x1b") == ["long", "control", "html", "capitals"]


def test_normalised() -> None:
    assert normalised("  Ｒain\u00a0 TOMORROW\n") == "rain tomorrow"
    assert normalised("STRASSE") == normalised("straße")


@given(st.text())
def test_any_text_can_be_looked_at(caption: str) -> None:
    for finding in suspicious(caption):
        assert "\n" not in finding.text("en")
        assert finding.text("en") != finding.text("zh")
    assert normalised(normalised(caption)) == normalised(caption)
