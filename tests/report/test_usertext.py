from pathlib import Path

import pytest

from multimodal_dql.report.usertext import for_spreadsheet, for_terminal, language_of, without_folder


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("古桥下的夜市", "zh"),
        ("桥下の夜市", "ja"),
        ("다리 아래 야시장", "ko"),
        ("ספרייה", "he"),
        ("Night market", ""),
        ("A long English headline that explains one word, 福, to its readers", ""),
        ("", ""),
        ("🌙 123", ""),
    ],
)
def test_the_script_gives_the_language_away(text, lang):
    assert language_of(text) == lang


def test_no_text_commands_a_terminal():
    assert for_terminal("a\x1b[31mb\x07\nc\u202ed\x9b2J") == "a[31mb cd2J"
    assert for_terminal("家 👩‍👩‍👧") == "家 👩‍👩‍👧"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1", "\n=1"])
def test_formulas_are_disarmed(text):
    assert for_spreadsheet(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=b", "10 ways", "标题"])
def test_plain_text_is_left_alone(text):
    assert for_spreadsheet(text) == text


def test_folders_are_not_named(tmp_path, monkeypatch):
    assert without_folder(f"{tmp_path}/images/a.png: broken", tmp_path) == "images/a.png: broken"
    monkeypatch.chdir(tmp_path)
    assert without_folder(f"{tmp_path}/a.png", Path(".")) == "a.png"
    assert without_folder("/a.png / b", Path("/")) == "/a.png / b"
