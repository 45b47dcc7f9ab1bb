"""Off-policy evaluation: what another policy would have earned on a log, how sure that is, or why it cannot say."""

from multimodal_dql.evaluation.ope.base import Estimate, Estimator
from multimodal_dql.evaluation.ope.choice import ChoiceModel
from multimodal_dql.evaluation.ope.decisions import GROUPS, Batch, Decisions
from multimodal_dql.evaluation.ope.diagnostics import ActionOverlap, Diagnostics, Overlap
from multimodal_dql.evaluation.ope.embedding import (
    MIPS,
    SNMIPS,
    ClusteredDecisions,
    EmbeddedDecisions,
    OffCEM,
    cluster,
    likelihood,
    same_cluster,
)
from multimodal_dql.evaluation.ope.estimators import DM, DR, IPS, SNDR, SNIPS, Replay
from multimodal_dql.evaluation.ope.evaluation import (
    EMBEDDED,
    ESTIMATORS,
    MODEL_FREE,
    Evaluation,
    EvaluationResult,
    choose,
)
from multimodal_dql.evaluation.ope.fitted import ConjunctModel, FittedQ
from multimodal_dql.evaluation.ope.horizon import (
    STEP_ESTIMATORS,
    StepDiagnostics,
    StepEvaluation,
    StepOverlap,
    StepResult,
    step_verdict,
)
from multimodal_dql.evaluation.ope.reward_model import RewardModel
from multimodal_dql.evaluation.ope.steps import (
    FQE,
    IIPS,
    RIPS,
    CascadeDR,
    PerDecisionDR,
    PerDecisionIPS,
    SlateIPS,
    Steps,
)
from multimodal_dql.evaluation.ope.table import GroupTable
from multimodal_dql.evaluation.ope.tuned import ClippedIPS, DRos, SwitchDR, Tuned
from multimodal_dql.evaluation.ope.verdict import Gate, Verdict

__all__ = [
    "DM",
    "DR",
    "EMBEDDED",
    "ESTIMATORS",
    "FQE",
    "GROUPS",
    "IIPS",
    "IPS",
    "MIPS",
    "MODEL_FREE",
    "RIPS",
    "SNDR",
    "SNIPS",
    "SNMIPS",
    "STEP_ESTIMATORS",
    "ActionOverlap",
    "Batch",
    "CascadeDR",
    "ChoiceModel",
    "ClippedIPS",
    "ClusteredDecisions",
    "ConjunctModel",
    "DRos",
    "Decisions",
    "Diagnostics",
    "EmbeddedDecisions",
    "Estimate",
    "Estimator",
    "Evaluation",
    "EvaluationResult",
    "FittedQ",
    "Gate",
    "GroupTable",
    "OffCEM",
    "Overlap",
    "PerDecisionDR",
    "PerDecisionIPS",
    "Replay",
    "RewardModel",
    "SlateIPS",
    "StepDiagnostics",
    "StepEvaluation",
    "StepOverlap",
    "StepResult",
    "Steps",
    "SwitchDR",
    "Tuned",
    "Verdict",
    "choose",
    "cluster",
    "likelihood",
    "same_cluster",
    "step_verdict",
]
