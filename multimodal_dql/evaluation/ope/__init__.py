"""Off-policy evaluation: what another policy would have earned on a log, how sure that is, or why it cannot say."""

from multimodal_dql.evaluation.ope.base import Estimate, Estimator
from multimodal_dql.evaluation.ope.decisions import GROUPS, Batch, Decisions
from multimodal_dql.evaluation.ope.estimators import DM, DR, IPS, SNDR, SNIPS, Replay
from multimodal_dql.evaluation.ope.table import GroupTable

__all__ = [
    "DM",
    "DR",
    "GROUPS",
    "IPS",
    "SNDR",
    "SNIPS",
    "Batch",
    "Decisions",
    "Estimate",
    "Estimator",
    "GroupTable",
    "Replay",
]
