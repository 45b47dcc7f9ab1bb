"""Off-policy evaluation: what another policy would have earned on a log, how sure that is, or why it cannot say."""

from multimodal_dql.evaluation.ope.base import Estimate, Estimator
from multimodal_dql.evaluation.ope.decisions import GROUPS, Batch, Decisions
from multimodal_dql.evaluation.ope.diagnostics import ActionOverlap, Diagnostics, Overlap
from multimodal_dql.evaluation.ope.estimators import DM, DR, IPS, SNDR, SNIPS, Replay
from multimodal_dql.evaluation.ope.evaluation import (
    ESTIMATORS,
    MODEL_FREE,
    Evaluation,
    EvaluationResult,
    choose,
)
from multimodal_dql.evaluation.ope.reward_model import RewardModel
from multimodal_dql.evaluation.ope.table import GroupTable
from multimodal_dql.evaluation.ope.tuned import ClippedIPS, DRos, SwitchDR, Tuned
from multimodal_dql.evaluation.ope.verdict import Gate, Verdict

__all__ = [
    "DM",
    "DR",
    "ESTIMATORS",
    "GROUPS",
    "IPS",
    "MODEL_FREE",
    "SNDR",
    "SNIPS",
    "ActionOverlap",
    "Batch",
    "ClippedIPS",
    "DRos",
    "Decisions",
    "Diagnostics",
    "Estimate",
    "Estimator",
    "Evaluation",
    "EvaluationResult",
    "Gate",
    "GroupTable",
    "Overlap",
    "Replay",
    "RewardModel",
    "SwitchDR",
    "Tuned",
    "Verdict",
    "choose",
]
