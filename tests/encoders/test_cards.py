import pytest

from multimodal_dql.encoders.cards import card_paths, read_card
from multimodal_dql.encoders.paths import built_in_cards
from multimodal_dql.errors import EncoderError
from tests.encoders.toys import write_card

GOOD = 'modality = "text"\nruntime = "onnx"\ndim = 3\n'
FILE = (
    '[[files]]\nname = "{name}"\nsha256 = "{sha}"\nbytes = 1\nsources = [{{ kind = "folder", path = "a" }}]\n'
)
SHA = "0" * 64


def test_every_built_in_card_is_complete():
    cards = [read_card(path) for path in sorted(built_in_cards().glob("*/card.toml"))]
    assert {card.name for card in cards} >= {
        "efficientnet-lite0",
        "librosa-descriptors",
        "minilm",
        "speech-embedding",
        "use-multilingual",
    }
    for card in cards:
        assert card.summary
        assert card.summary_zh
        assert card.licence in {"Apache-2.0", "ISC", "MIT"}
        assert card.citation
        assert card.files or card.runtime == "librosa"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (GOOD.replace("3", "0"), "dim"),
        (GOOD.replace('"text"', '"smell"'), "modality"),
        (GOOD + 'colour = "red"\n', "colour"),
        (GOOD + FILE.format(name="../out", sha=SHA), "stays inside"),
        (GOOD + FILE.format(name="/etc/passwd", sha=SHA), "stays inside"),
        (GOOD + FILE.format(name="m", sha="abc"), "sha256"),
        (GOOD + 2 * FILE.format(name="m", sha=SHA), "same name"),
        (GOOD + '[[files]]\nname="m"\nsha256="' + SHA + '"\nbytes=1\nsources=[]\n', "sources"),
        (
            GOOD
            + FILE.format(name="m", sha=SHA).replace(
                'kind = "folder"', 'kind = "wheel", requirement = "--index-url=http://x a==1"'
            ),
            "requirement",
        ),
        ("dim = ", "cannot be read"),
        (GOOD.replace("dim", "name"), "cannot be read"),
    ],
    ids=[
        "dim",
        "modality",
        "unknown",
        "outside",
        "absolute",
        "hash",
        "twice",
        "nowhere",
        "option",
        "toml",
        "again",
    ],
)
def test_a_wrong_card_is_refused_with_its_field(tmp_path, body, says):
    with pytest.raises(EncoderError, match=says) as caught:
        read_card(write_card(tmp_path, "toy", body))
    assert "card.toml" in str(caught.value)


def test_a_card_in_a_folder_of_another_name_is_refused(tmp_path):
    path = write_card(tmp_path, "toy", GOOD)
    path.parent.rename(tmp_path / "other")
    with pytest.raises(EncoderError, match="name its folder the same"):
        read_card(tmp_path / "other" / "card.toml")


def test_a_card_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(EncoderError, match="cannot be read"):
        read_card(tmp_path / "toy" / "card.toml")
    path = write_card(tmp_path, "toy", GOOD)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EncoderError, match="cannot be read"):
        read_card(path)


def test_the_fingerprint_follows_numbers_and_not_words(tmp_path):
    card = read_card(write_card(tmp_path, "toy", GOOD + FILE.format(name="m", sha=SHA)))
    same = card.model_copy(
        update={"summary": "other", "citation": "other", "folder": None, "languages": ("zh",)}
    )
    assert same.fingerprint("code", 1) == card.fingerprint("code", 1)
    changed = [
        card.model_copy(update={"pooling": "mean"}),
        card.model_copy(update={"normalisation": "l2"}),
        card.model_copy(update={"preprocessing": {"side": 224}}),
        card.model_copy(update={"files": (card.files[0].model_copy(update={"sha256": "1" * 64}),)}),
    ]
    prints = {card.fingerprint("code", 1), card.fingerprint("code", 2), card.fingerprint("other", 1)}
    prints |= {other.fingerprint("code", 1) for other in changed}
    assert len(prints) == 7


def test_a_built_in_name_cannot_be_taken_over(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIMODAL_DQL_CARDS", str(tmp_path))
    write_card(tmp_path, "minilm", GOOD)
    mine = write_card(tmp_path, "mine", GOOD)
    assert card_paths()["minilm"].is_relative_to(built_in_cards())
    assert card_paths()["mine"] == mine


def test_a_missing_number_is_named(tmp_path):
    card = read_card(write_card(tmp_path, "toy", GOOD + '[preprocessing]\nside = "wide"\n'))
    with pytest.raises(EncoderError, match=r"preprocessing\.side"):
        card.number("side")
    assert card.number("crop", 1.0) == 1.0
