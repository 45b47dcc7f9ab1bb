from __future__ import annotations

from pathlib import Path

import pytest

from multimodal_dql.datasets.cards import _read_cards, card_folder, dataset_card, dataset_cards
from multimodal_dql.errors import DatasetCardError, UnknownNameError

GOOD = """
name = "mine"
title = "My data"
licence = "CC0"
source = "https://example.org/"
how_to_get = \"\"\"
Ask
me.\"\"\"
citation = "Me (2024)"
modalities = ["text", "audio"]
"""


def folder_with(folder: Path, text: str) -> Path:
    (folder / "mine").mkdir()
    (folder / "mine" / "card.toml").write_text(text, encoding="utf-8")
    return folder


def test_every_card_is_valid_and_complete() -> None:
    cards = {card.name: card for card in dataset_cards()}
    assert {"caption_contest", "open_bandit", "upworthy"} <= set(cards)
    assert set(cards) == {path.parent.name for path in card_folder().glob("*/card.toml")}
    for name in ("caption_contest", "open_bandit", "upworthy"):
        card = cards[name]
        assert card.source.startswith("https://")
        assert "\n" not in card.how_to_get
        assert card.how_to_get_zh
        assert card.title_zh
    assert cards["caption_contest"].modalities == ("text", "image")


def test_card_folders_hold_no_code() -> None:
    assert not list(card_folder().rglob("*.py")) or card_folder().name == "cards"


def test_one_card_by_name() -> None:
    assert dataset_card("upworthy").licence.startswith("CC BY 4.0")
    with pytest.raises(UnknownNameError, match="no data set called 'upworty'; did you mean 'upworthy'"):
        dataset_card("upworty")


def test_a_card_is_read(tmp_path: Path) -> None:
    (card,) = _read_cards(folder_with(tmp_path, GOOD))
    assert (card.name, card.how_to_get, card.modalities) == ("mine", "Ask me.", ("text", "audio"))
    assert card.title_zh is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('name = "mine"', 'name = "yours"', "make them the same"),
        ('licence = "CC0"', "", "licence: Field required"),
        ('licence = "CC0"', 'licence = " "', "licence: String should have at least 1 character"),
        ('"audio"', '"smell"', "modalities.1"),
        ('title = "My data"', "title = ", "is not valid TOML"),
        ('title = "My data"', 'title = "x"\nsecret = 1', "secret: Extra inputs"),
    ],
)
def test_wrong_cards(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(DatasetCardError) as caught:
        _read_cards(folder_with(tmp_path, GOOD.replace(old, new)))
    assert told in str(caught.value)
    assert "card.toml" in str(caught.value)
