"""Sentences about how steadily a training went, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["STABILITY_TEXTS"]

# key -> (English, Chinese)
STABILITY_TEXTS: Mapping[str, tuple[str, str]] = {
    "stability": ("Stability", "稳定性"),
    "steadiness_steady": (
        "The training was steady: no monitor found anything in {iterations} rounds.",
        "训练过程平稳：{iterations} 轮中没有任何监测项报告问题。",
    ),
    "steadiness_watch": (
        "The training ran through, with something to look at: see the monitors below.",
        "训练已完成，但有需要留意之处：见下方监测项。",
    ),
    "steadiness_repaired": (
        "The training was repaired on its way: see the monitors below for what was left out or undone.",
        "训练途中经过修复：略去或撤回了什么，见下方监测项。",
    ),
    "steadiness_stopped": (
        "The training was stopped; the agent is the last one that passed all monitors.",
        "训练被中止；当前智能体是最后一个通过全部监测的版本。",
    ),
    "stability_q": (
        "At the start of a visit Q promised {q} and {returned} came, in average clicks, over the last quarter of the "
        "rounds: {ratio} times what was realised. Far above 1 means that values are overestimated.",
        "在最后四分之一的轮次里，访问开始时 Q 值预计 {q}，实际得到 {returned}（单位：平均点击），"
        "即实际的 {ratio} 倍。远大于 1 表示价值被高估。",
    ),
    "stability_churn": (
        "From one round to the next the first choice changed in {early} of the probe decisions early and in {late} "
        "late.",
        "相邻两轮之间，首选发生变化的探测决策早期占 {early}，后期占 {late}。",
    ),
    "stability_dead": (
        "{dead} of the hidden units were silent on every probe decision at the end.",
        "训练结束时，{dead} 的隐藏单元在所有探测决策上都没有反应。",
    ),
    "q_against_return": ("Q against realised return", "Q 值与实际回报"),
    "q_against_return_key": ("solid: Q promised; dashed: realised", "实线：Q 值预计；虚线：实际"),
    "reliability": ("Can the probabilities be believed?", "概率可信吗？"),
    "reliability_intro": (
        "What the last layer says about being best, on stories that it and the members it asks did not learn from, "
        "against what is best for the simulated audience: the click now and what follows. Upright line: said; dot with "
        "its 95 % interval: came true.",
        "最后一层对其自身及所询问成员均未学习过的条目给出的“最佳”概率，与模拟受众中真正最佳者（当前点击及后续）对照。"
        "竖线：所给概率；圆点及 95% 区间：实际比例。",
    ),
    "reliability_said": ("said {stated} ({n} variants)", "所给概率 {stated}（{n} 个变体）"),
    "reliability_came": ("came true {true} [{low}, {high}]", "实际 {true} [{low}, {high}]"),
    "monitors": ("What the monitors said", "监测结论"),
    "monitor_passed": ("nothing found", "未发现问题"),
    "monitor_once": ("round {iteration}: {what}; {action}", "第 {iteration} 轮：{what}；{action}"),
    "monitor_often": (
        "{times} times, first in round {iteration}: {what}; {action}",
        "共 {times} 次，首次在第 {iteration} 轮：{what}；{action}",
    ),
    "monitor_transitions": ("Simulated data", "模拟数据"),
    "monitor_batch": ("Batches from the replay", "回放批次"),
    "monitor_starved": ("Anything to learn from", "可学习的数据"),
    "monitor_not_finite": ("Finite numbers", "数值有限"),
    "monitor_exploding_q": ("Size of Q", "Q 值大小"),
    "monitor_loss": ("Loss", "损失"),
    "monitor_dead": ("Live network", "网络活性"),
    "monitor_lowered": ("Repairs", "修复次数"),
    "monitor_overestimate": ("Overestimation", "高估"),
    "monitor_churn": ("Changing choices", "首选变化"),
    "monitor_checkpoint": ("Checkpoints", "检查点"),
    "found_transitions": (
        "{value} of the new data was not finite or out of range",
        "{value} 的新数据不是有限数或超出范围",
    ),
    "found_batch": ("{value} of the batches held a damaged entry", "{value} 的批次含有损坏的数据"),
    "found_starved": ("nothing sound was left to learn from", "没有可以学习的有效数据"),
    "found_not_finite": (
        "a loss, gradient, Q value or weight was not finite",
        "损失、梯度、Q 值或权重不是有限数",
    ),
    "found_exploding_q": ("the largest Q was {value}, above {limit}", "最大 Q 值为 {value}，高于 {limit}"),
    "found_loss": (
        "the loss was {value}, above {limit}, far from what it was before",
        "损失为 {value}，高于 {limit}，远离此前的水平",
    ),
    "found_dead": (
        "no gradient, no preference, or {value} of the hidden units silent",
        "没有梯度、没有偏好，或 {value} 的隐藏单元没有反应",
    ),
    "found_lowered": (
        "the learning rate had been lowered {limit} times already",
        "学习率此前已降低 {limit} 次",
    ),
    "found_overestimate": (
        "Q promised {value} times what was realised, above {limit}",
        "Q 值为实际回报的 {value} 倍，高于 {limit}",
    ),
    "found_churn": (
        "first choices still changed in {value} of the probe decisions, no less than early ({limit})",
        "首选仍在 {value} 的探测决策上变化，不低于早期（{limit}）",
    ),
    "found_checkpoint": (
        "a checkpoint could not be written",
        "检查点无法写入",
    ),
    "did_stop": ("the training was stopped, the last good weights kept", "训练中止，保留最近一次正常的权重"),
    "did_lower": (
        "went back to the last good state with a lower learning rate",
        "回到最近一次正常的状态并降低学习率",
    ),
    "did_skip": ("it was left out", "已略去"),
    "did_warn": ("nothing was changed", "未做改动"),
    "reading_stability": (
        "Q and returns are discounted and in average clicks: 1 is one click at the base rate. Probe decisions are the "
        "same in every round.",
        "Q 值与回报均已折扣，单位为平均点击：1 即基础点击率下的一次展示。每轮的探测决策相同。",
    ),
    "metric_q_mean": ("Mean of the highest Q", "最高 Q 值的均值"),
    "metric_return_mean": ("Realised return", "实际回报"),
    "metric_churn": ("Changed first choices", "首选变化的比例"),
    "metric_dead_share": ("Silent hidden units", "无反应的隐藏单元"),
    "metric_learning_rate": ("Learning rate", "学习率"),
}
