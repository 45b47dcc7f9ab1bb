"""Results as a person or a program wants them: one HTML page, a terminal, JSON, CSV."""

from __future__ import annotations

from multimodal_dql.report.evaluation import evaluation_to_dict, print_evaluation
from multimodal_dql.report.evaluation_html import render_evaluation_html, write_evaluation_html
from multimodal_dql.report.export import comparison_to_dict, ranking_to_dict, write_csv
from multimodal_dql.report.html import render_html, write_html
from multimodal_dql.report.plots import TrainingCurve
from multimodal_dql.report.reliability import reliability_to_list
from multimodal_dql.report.stability import stability_to_dict
from multimodal_dql.report.terminal import print_comparison, print_ranking, print_stability
from multimodal_dql.report.trial import trial_to_dict
from multimodal_dql.report.trial_html import render_trial_html, write_trial_html
from multimodal_dql.report.trial_terminal import print_trial

__all__ = [
    "TrainingCurve",
    "comparison_to_dict",
    "evaluation_to_dict",
    "print_comparison",
    "print_evaluation",
    "print_ranking",
    "print_stability",
    "print_trial",
    "ranking_to_dict",
    "reliability_to_list",
    "render_evaluation_html",
    "render_html",
    "render_trial_html",
    "stability_to_dict",
    "trial_to_dict",
    "write_csv",
    "write_evaluation_html",
    "write_html",
    "write_trial_html",
]
