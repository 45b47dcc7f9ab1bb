from __future__ import annotations

import re

import pytest
from PIL import ImageFont

from multimodal_dql import fonts
from multimodal_dql.errors import MissingGlyphsError
from multimodal_dql.fonts import font_for, font_paths, missing_glyphs

UNKNOWN = "\U000f0041"  # a private character that no font of ours has


def test_the_shipped_font_comes_first():
    assert font_paths()[0].name == "NotoSansSC-Regular.otf"
    assert "pylopdf_fonts_zh_cn" in str(font_paths()[0])


@pytest.mark.parametrize(
    "text",
    ["Line 7 opens", "少交 400 元", "“六个钟头！”", "-20%  ¥300 → 12 min", "Déjà vu", "两行\nzwei", ""],
)
def test_texts_of_both_languages_need_only_the_shipped_font(text):
    font = font_for(text, 32)
    assert font.path == font_paths()[0]
    assert font.size == 32
    assert missing_glyphs(text, font_paths()[0]) == ""


def test_different_characters_are_drawn_differently():
    font = font_for("鹭蜂", 40)
    assert bytes(font.getmask("鹭")) != bytes(font.getmask("蜂"))


def test_missing_characters_are_found_once_each_and_in_order():
    assert missing_glyphs(f"a{UNKNOWN}好🐝{UNKNOWN}", font_paths()[0]) == f"{UNKNOWN}🐝"


def test_invisible_characters_are_not_missing():
    assert missing_glyphs("a\u200b\ufeff\u2060\n\t b", font_paths()[0]) == ""


def test_a_text_that_no_font_has_says_what_to_install():
    with pytest.raises(MissingGlyphsError, match=re.escape("apt-get install fonts-noto-cjk")) as caught:
        font_for(f"ok {UNKNOWN}", 20)
    assert caught.value.fields["characters"] == UNKNOWN
    assert "fonts-noto-cjk" in caught.value.text("zh")
    assert caught.value.exit_code == 2


def test_the_next_font_is_taken_when_the_first_lacks_a_character(monkeypatch, tmp_path):
    # A real font that lacks Chinese: the Latin one that Pillow carries.
    latin = tmp_path / "latin.ttf"
    latin.write_bytes(ImageFont.load_default(20).font_bytes)
    order = (latin, *font_paths())
    monkeypatch.setattr(fonts, "font_paths", lambda: order)
    assert missing_glyphs("a好b", latin) == "好"
    assert font_for("abc", 20).path == latin
    assert font_for("a好b", 20).path == order[1]


def test_no_font_at_all_is_an_error_not_a_box(monkeypatch):
    monkeypatch.setattr(fonts, "font_paths", tuple)
    with pytest.raises(MissingGlyphsError, match="fonts-noto-cjk"):
        font_for("你好", 20)
