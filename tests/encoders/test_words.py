import pytest

from multimodal_dql.encoders.words import WORD_START, by_words


class Letters:
    """Tokenizer of whole words: their lengths, after the sign of a word (7); 0 for no word at all."""

    def __init__(self):
        self.asked = []

    def __call__(self, text):
        self.asked.append(text)
        return [token for word in text.split() for token in (7, len(word))] or [0]


@pytest.mark.parametrize(
    "text", ["one two one", "  spaced   out ", "", "   ", "a\nb \n c", f"by{WORD_START}hand "]
)
def test_word_by_word_gives_the_tokens_of_the_whole(text):
    assert by_words(Letters(), 0)(text) == Letters()(text)


def test_a_word_is_tokenised_once():
    letters = Letters()
    tokens_of = by_words(letters, 0)
    assert tokens_of("to be or not to be") == tokens_of("to be or not to be")
    assert letters.asked == ["to", "be", "or", "not"]


def test_a_text_without_spaces_is_not_remembered():
    letters = Letters()
    tokens_of = by_words(letters, 0)
    tokens_of("字" * 100), tokens_of("字" * 100)
    assert len(letters.asked) == 2
