"""Cards of data sets: what each is, under which licence, how to get it and how to cite it. The data is
not here.

A card is ``datasets/<name>/card.toml`` in the repository; the wheel carries the folders inside this package.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from multimodal_dql.errors import DatasetCardError, UnknownNameError

__all__ = ["DatasetCard", "card_folder", "dataset_card", "dataset_cards"]

# Cards wrap long values; a value is one paragraph.
_Line = Annotated[str, Field(min_length=1), AfterValidator(lambda text: " ".join(text.split()))]


class DatasetCard(BaseModel):
    """One card.

    Attributes:
        name: the name of its folder.
        title: one line.
        title_zh: the same in Chinese, if given.
        licence: of the data, with what it does not cover.
        source: web address of the original.
        how_to_get: what a user does to have it, in a sentence or two.
        how_to_get_zh: the same in Chinese, if given.
        citation: as its authors wish to be cited.
        modalities: what a variant in it has; empty for logs without content.

    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    name: str = Field(min_length=1, pattern=r"^[a-z0-9_-]+$")
    title: _Line
    title_zh: _Line | None = None
    licence: _Line
    source: _Line
    how_to_get: _Line
    how_to_get_zh: _Line | None = None
    citation: _Line
    modalities: tuple[Literal["text", "image", "audio"], ...]


def card_folder() -> Path:
    """The folder of card folders: inside the installed package, else at the root of the repository."""
    installed = Path(__file__).parent / "cards"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "datasets"


def dataset_cards() -> tuple[DatasetCard, ...]:
    """All cards, by name. Raises `DatasetCardError` for a card that is wrong."""
    return _read_cards(card_folder())


def dataset_card(name: str) -> DatasetCard:
    """The card called `name`. Raises `UnknownNameError` with the nearest name."""
    cards = {card.name: card for card in dataset_cards()}
    if name not in cards:
        raise UnknownNameError(kind="data set", kind_zh="数据集", name=name, known=cards)
    return cards[name]


@cache
def _read_cards(folder: Path) -> tuple[DatasetCard, ...]:
    return tuple(_read_card(path) for path in sorted(folder.glob("*/card.toml")))


def _read_card(path: Path) -> DatasetCard:
    try:
        card = DatasetCard.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise DatasetCardError(path=path, detail=told, detail_zh=told) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DatasetCardError(
            path=path, detail=f"is not valid TOML ({error})", detail_zh=f"不是有效的 TOML（{error}）"
        ) from None
    if card.name != path.parent.name:
        raise DatasetCardError(
            path=path,
            detail=f"says name = '{card.name}' in folder '{path.parent.name}'; make them the same",
            detail_zh=f"文件夹 “{path.parent.name}” 中写着 name = “{card.name}”；请统一",
        )
    return card
