import re
from pathlib import Path

import pytest

from multimodal_dql import report
from multimodal_dql.policies.registry import policy_names
from multimodal_dql.report.texts import TEXTS, Texts
from multimodal_dql.report.trial_texts import TRIAL_TEXTS
from multimodal_dql.report.trial_words import STATES, Words
from multimodal_dql.simulation.analysis import OUTCOMES
from multimodal_dql.simulation.audience import DEVICES, SEGMENTS
from tests.report.trials import trial

FOLDER = Path(report.__file__).parent
CODE = "\n".join(
    p.read_text("utf-8") for p in FOLDER.rglob("*") if p.suffix in {".py", ".j2"} and "texts" not in p.name
)
WRITTEN_TOGETHER = (
    "arm_",
    "outcome_",
    "more_",
    "fewer_",
    "group_",
    "trial_say_",
    "trial_tally_",
    "trial_ending_",
)


def test_everything_that_a_trial_names_has_a_word():
    wanted = {f"arm_{name}" for name in (*policy_names(), "dqn")}
    wanted |= {f"{kind}_{outcome}" for kind in ("outcome", "more", "fewer") for outcome in OUTCOMES}
    wanted |= {f"group_segment={name}" for name in SEGMENTS} | {f"group_device={name}" for name in DEVICES}
    wanted |= {f"trial_{kind}_{state}" for kind in ("say", "tally", "ending") for state in STATES}
    wanted |= {f"trial_rule_{rule}" for rule in ("fixed", "group-sequential", "anytime")}
    wanted |= {f"trial_design_{design}" for design in ("paired", "randomised")}
    wanted |= {f"trial_reference_{name}" for name in ("oracle", "myopic")}
    assert wanted <= TEXTS.keys()


@pytest.mark.parametrize("key", [key for key in TRIAL_TEXTS if not key.startswith(WRITTEN_TOGETHER)])
def test_no_sentence_is_left_over(key):
    stem = re.sub(
        r"_(passed|failed|oracle|myopic|paired|randomised|fixed|group-sequential|anytime)$", "_", key
    )
    assert re.search(rf"""["']{key}["']""", CODE) or f'"{stem}{{' in CODE or f'"{stem}" ~' in CODE


def test_arms_that_would_be_called_the_same_keep_their_own_names():
    words = Words(trial("early"), Texts("en"))
    assert words.name("ucb:z=.5") == "upper confidence bound (UCB) [z=.5]"
    assert words.name("first") == "always the first variant"
    assert words.name("somebody's") == "somebody's"


def test_values_have_the_digits_their_intervals_deserve():
    words = Words(trial("open"), Texts("en"))
    assert words.value("clicks", (0.1279, 0.1251, 0.1307)) == ("0.1279", "0.1251–0.1307")
    assert words.value("click_rate", (0.0187, 0.0184, 0.019)) == ("1.870%", "1.840–1.900%")
    assert words.value("conversion_value", (12345.6, 12000.0, 12691.0)) == ("12,346", "12,000–12,691")
    assert words.value("conversions", (0.0, 0.0, 0.0)) == ("0.00", "")
    assert words.value("conversions", (0.002, -0.001, 0.005)) == ("0.0020", "−0.0010–0.0050")
    assert words.value("clicks", (0.2, float("nan"), float("nan"))) == ("0.200", "")
