import pytest

from multimodal_dql.encoders.languages import covers, script_of


@pytest.mark.parametrize(
    ("languages", "text", "covered"),
    [
        (("en",), "Ten quiet ways", True),
        (("en",), "城市重新开放旧港口", False),
        (("en", "zh"), "城市重新开放旧港口", True),
        (("zh",), "新款 iPhone 发布会现场直击与评测", True),
        (("en",), "iPhone 16 review: 好", True),
        (("en",), "مرحبا بالعالم", False),
        (("ja",), "ロボットの夜", True),
        (("en",), "Les élèves à Noël", True),
        (("zh",), "Ten quiet ways", False),
        (("zh",), "2024", True),
        (("en",), "🎉🎉", True),
        ((), "城市", True),
    ],
)
def test_scripts_decide(languages, text, covered):
    assert covers(languages, text) is covered


def test_wide_letters_are_latin():
    assert script_of("Ａ") == "LATIN"
    assert script_of("\ue000") == ""
