"""What the tests of hostile and broken models share.

Each case makes what somebody could be sent, then does what a user would do with it. Wherever the attack would write,
it would write the canary.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from multimodal_dql.encoders.checks import example_samples
from multimodal_dql.encoders.inputs import checked_encode
from multimodal_dql.encoders.registry import encoder_card, load_encoder, use_cards
from multimodal_dql.encoders.sources import sha256_of
from multimodal_dql.errors import InputError

__all__ = ["Box", "Cases", "assert_chinese", "assert_refused", "use"]

Attack = Callable[["Box"], None]
HEAD = 'name = "evil"\nsummary = "x"\ncitation = "none"\n'


@dataclass
class Box:
    """Where a case plays: folders of its own, and the file that must never appear."""

    root: Path

    @property
    def canary(self) -> Path:
        return self.root / "canary"

    def card(
        self, files=(), *, runtime="onnx", modality="image", dim=5, licence="MIT", extra="", settings=""
    ):
        """A card ``evil`` in a folder of cards, and that folder."""
        lines = [HEAD + f'modality = "{modality}"\nruntime = "{runtime}"\ndim = {dim}\n{extra}']
        lines += [f'licence = "{licence}"'] if licence else []
        lines += ["[preprocessing]\nside = 8\nmax_tokens = 8\n" + settings]
        for name, path in dict(files).items():
            lines.append(
                f'[[files]]\nname = "{name}"\nsha256 = "{sha256_of(path)}"\nbytes = {path.stat().st_size}'
            )
            lines.append(f'sources = [{{ kind = "folder", path = "{path}" }}]')
        return self.raw("\n".join(lines).encode())

    def raw(self, content: bytes) -> Path:
        path = self.root / "cards/evil/card.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return self.root / "cards"

    def file(self, name: str, content: bytes) -> Path:
        path = self.root / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def use(folder: Path) -> None:
    """What a user does with a folder of cards: names it, loads the encoder, encodes."""
    use_cards(folder)
    card = encoder_card("evil")
    assert card is not None
    checked_encode(load_encoder("evil"), example_samples(card.modality)[:2])


class Cases(list):
    """Cases in the order in which they are written; each is an attack and words of the line that refuses it."""

    def add(self, words: str, *, slow: bool = False, library: bool = False) -> Callable[[Attack], Attack]:
        """Takes in the function that follows; `library` says that a library's own words are the cause."""

        def keep(attack: Attack) -> Attack:
            marks = [pytest.mark.slow] if slow else []
            self.append(pytest.param(attack, words, library, id=attack.__name__, marks=marks))
            return attack

        return keep


def assert_refused(attack, words, tmp_path, monkeypatch, *, library):
    """One line in either language, and neither the canary nor a card."""
    monkeypatch.setenv("MULTIMODAL_DQL_CARDS", str(tmp_path / "user-cards"))
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "registry"))
    monkeypatch.setattr("multimodal_dql.encoders.paths._extra", [])
    (tmp_path / "registry").mkdir()
    with pytest.raises(InputError) as caught:
        attack(Box(tmp_path))
    assert words in caught.value.text("en")
    assert "\n" not in caught.value.text("en")
    assert_chinese(caught.value.text("zh"), library=library)
    assert not list(tmp_path.rglob("canary*"))
    assert not (tmp_path / "user-cards").exists()


def assert_chinese(line: str, *, library: bool = False) -> None:
    """One line, in which only commands and the words of a library are English."""
    assert "\n" not in line
    assert any("\u4e00" <= letter <= "\u9fff" for letter in line)
    told = re.sub(r"python -c .*|(hf|kaggle|multimodal-dql)( [a-z]+)+", "", line)
    assert library or not re.search(r"[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}", told), line
