import re
import string
from pathlib import Path

import pytest

from multimodal_dql import report
from multimodal_dql.report.texts import TEXTS, Texts

SOURCES = [path for path in Path(report.__file__).parent.rglob("*") if path.suffix in {".py", ".j2"}]
CODE = {path.name: path.read_text("utf-8") for path in SOURCES if path.name != "texts.py"}
# Names that mean the same in both languages.
SAME = {"tool"}


def fields(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_say_it_with_the_same_fields(key):
    english, chinese = TEXTS[key]
    assert english.strip()
    assert chinese.strip()
    assert fields(english) == fields(chinese)
    if key not in SAME and english not in {", ", "; "}:
        assert re.search(r"[\u4e00-\u9fff]", chinese)
        assert not re.search(r"[\u4e00-\u9fff]", english)


@pytest.mark.parametrize("key", [key for key in TEXTS if key.endswith(("_one", "_many"))])
def test_plurals_come_in_pairs_that_name_the_number(key):
    stem = key.rsplit("_", 1)[0]
    assert {f"{stem}_one", f"{stem}_many"} <= TEXTS.keys()
    assert fields(TEXTS[key][0]) == {"n"}


def test_every_key_that_the_code_asks_for_exists():
    for name, code in CODE.items():
        for key in re.findall(r"""\bt\(\s*["'](\w+)["']\s*[,)]""", code):
            assert key in TEXTS, f"{name} asks for {key}"
        for stem in re.findall(r"""\.plural\(\s*["'](\w+)["']\s*,""", code):
            assert f"{stem}_one" in TEXTS, f"{name} asks for {stem}"


def test_no_sentence_is_left_over():
    whole = "\n".join(CODE.values())
    families = ("arm_", "metric_", "fact_", "verdict_", "choose_", "say_", "tally_", "side_")
    families += ("monitor_", "found_", "did_", "steadiness_", "estimator_")
    unused = [
        key
        for key in TEXTS
        if not key.startswith(families)
        and not re.search(rf"""["']{key.removesuffix("_one").removesuffix("_many")}["']""", whole)
    ]
    assert unused == []


def test_plural_and_unknown_names():
    assert Texts("en").plural("stories", 1) == "1 story"
    assert Texts("en").plural("stories", 2_000) == "2,000 stories"
    assert Texts("zh").plural("stories", 2) == "2 个条目"
    assert Texts("en").named("arm", "first") == "always the first variant"
    assert Texts("en").named("arm", "my_policy") == "my policy"
