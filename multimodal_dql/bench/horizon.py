"""Where looking ahead pays and where it cannot: Q-learning against an agent that is greedy on the next click.

`tempting`: sensational variants draw clicks and disappoint, and the disappointed leave and stay away.
`indifferent` is the same with satisfaction switched off: nothing that is shown now changes what follows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from multimodal_dql.bench.simulator import WIDTHS, small_stage
from multimodal_dql.candidates import ContentProjection, EncoderProjection
from multimodal_dql.policies.base import Uniform
from multimodal_dql.policies.dqn import DqnPolicy
from multimodal_dql.simulation.analysis import Analysis
from multimodal_dql.simulation.arms import Arm
from multimodal_dql.simulation.config import EngagementConfig
from multimodal_dql.simulation.experiment import Plan
from multimodal_dql.simulation.sessions import Stage
from multimodal_dql.simulation.trial import Trial, run_trial
from multimodal_dql.training import TrainConfig, train_in_world

__all__ = ["INDIFFERENT", "TEMPTING", "bench_horizon"]

TEMPTING = EngagementConfig(
    clickbait_click=0.4, clickbait_regret=3.0, come_back_satisfaction=3.0, stay_satisfaction=3.0
)
INDIFFERENT = TEMPTING.without("satisfaction")
STORIES = 60


def bench_horizon(
    discount: float = 0.9, sessions: int = 6000, seed: int = 0, training: TrainConfig | None = None
) -> dict[str, Any]:
    """Train with and without a future in both settings; decide stories by members that did not learn from them.

    Args:
        discount: of the agent that looks ahead; the other has 0.
        sessions: of the paired comparison.
        seed: of worlds and training.
        training: settings but for discount and seed; None is the usual ones.
    """
    out: dict[str, Any] = {"discount": discount, "stories": STORIES, "sessions": sessions}
    for name, config in (("tempting", TEMPTING), ("indifferent", INDIFFERENT)):
        trial = _trial(
            small_stage(STORIES, config, seed), discount, sessions, seed, training or TrainConfig()
        )
        found = trial.verdict.comparisons[0]
        out[name] = {
            "clicks": {arm: levels["clicks"][0] for arm, levels in trial.verdict.arms.items()}
            | {r.name: r.outcomes["clicks"] for r in trial.references},
            "return": {arm: levels["return"][0] for arm, levels in trial.verdict.arms.items()},
            "ahead_over_greedy": {"effect": found.effect, "low": found.low, "high": found.high},
            "ending": found.ending,
            "winner": found.winner,
        }
    return out


def _trial(stage: Stage, discount: float, sessions: int, seed: int, training: TrainConfig) -> Trial:
    arms = []
    for name, worth in (("ahead", discount), ("greedy", 0.0)):
        settings = replace(training, discount=worth, seed=seed)
        agent = train_in_world(stage.world, _projection(), settings)
        arms.append(Arm(name, DqnPolicy(agent, known=np.arange(STORIES))))
    arms.append(Arm("uniform", Uniform()))
    ids = [str(i) for i in range(STORIES)]
    return run_trial(stage, arms, Plan(sessions), Analysis("greedy"), item_ids=ids)


def _projection() -> ContentProjection:
    """Encoders of no importance: the content of the bench is drawn, not encoded."""
    none = np.zeros(1, np.float32)
    return ContentProjection(
        tuple(
            EncoderProjection(f"e{i}", modality, "bench", none, np.zeros((1, width), np.float32))
            for i, (modality, width) in enumerate(zip(("text", "image", "audio"), WIDTHS, strict=True))
        )
    )
