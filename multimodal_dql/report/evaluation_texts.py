"""What is said of policies on a log, in English and Chinese, side by side."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["EVALUATION_TEXTS"]

# key -> (English, Chinese), as in `multimodal_dql.report.texts`, which takes these in.
EVALUATION_TEXTS: Mapping[str, tuple[str, str]] = {
    "evaluation_title": ("What would it have earned?", "它本来能带来多少？"),
    "evaluation_kicker": ("Evaluation on a log", "日志评估"),
    "evaluation_deck": (
        "{policies} on {n} logged decisions, without showing anything to anybody.",
        "在 {n} 条日志决策上评估 {policies}，无需向任何人展示。",
    ),
    "evaluation_say_ahead": (
        "On this log, {policy} would have earned {value} ({level} interval {low} to {high}), against {logged} of the "
        "log itself: {relative} ({gap_low} to {gap_high}).",
        "在这份日志上，“{policy}”本可达到{value}（{level} 区间 {low} 至 {high}），日志自身为 {logged}："
        "{relative}（{gap_low} 至 {gap_high}）。",
    ),
    "evaluation_say_same": (
        "On this log, {policy} would have earned {value} ({level} interval {low} to {high}), which cannot be told from "
        "the {logged} of the log itself: {relative} ({gap_low} to {gap_high}).",
        "在这份日志上，“{policy}”本可达到{value}（{level} 区间 {low} 至 {high}），与日志自身的 {logged} 分不出差别："
        "{relative}（{gap_low} 至 {gap_high}）。",
    ),
    "evaluation_say_alone": (
        "On this log, {policy} would have earned {value} ({level} interval {low} to {high}); the log itself earned "
        "{logged}.",
        "在这份日志上，“{policy}”本可达到{value}（{level} 区间 {low} 至 {high}）；日志自身为 {logged}。",
    ),
    "evaluation_say_none": (
        "This log cannot say what {policy} would have earned: {reason}. What could: {needed}.",
        "这份日志无法说明“{policy}”本可获得多少：{reason}。可行的办法：{needed}。",
    ),
    "evaluation_say_pair": (
        "{policy} against {other}: {gap} ({level} interval {low} to {high}).",
        "“{policy}”与“{other}”相比：{gap}（{level} 区间 {low} 至 {high}）。",
    ),
    "evaluation_side_ahead": ("More than the log", "多于日志"),
    "evaluation_side_behind": ("Less than the log", "少于日志"),
    "evaluation_side_same": ("No difference shown", "看不出差别"),
    "evaluation_side_none": ("The log cannot say", "日志无法回答"),
    "evaluation_noun_click": ("click rate", "点击率"),
    "evaluation_noun_other": ("{reward} a decision", "每次决策的 {reward}"),
    "evaluation_value_click": ("a click rate of {value}", "点击率 {value}"),
    "evaluation_value_other": ("{value} {reward} a decision", "每次决策 {value}（{reward}）"),
    "evaluation_verdict": ("The verdict", "结论"),
    "evaluation_policy": ("Policy", "策略"),
    "evaluation_estimator": ("Estimator", "估计量"),
    "evaluation_logged": ("the log itself", "日志自身"),
    "evaluation_trust": ("How far to trust it", "可信程度"),
    "evaluation_trust_ess": (
        "{policy}: {n} decisions count as {effective} of its own ({share}); the heaviest 1% carry {top} of the weight, "
        "the heaviest one {largest}.",
        "{policy}：{n} 条决策相当于它自己的 {effective} 条（{share}）；"
        "权重最大的 1% 占 {top}，最大的一条占 {largest}。",
    ),
    "evaluation_trust_mean": (
        "{policy}: the weights have the mean {mean} ± {error}; with true propensities it is 1 (p {p}).",
        "{policy}：权重的均值为 {mean} ± {error}；倾向概率真实时应为 1（p {p}）。",
    ),
    "evaluation_trust_anytime": (
        "{policy}: between {low} and {high} ({level}, ips) however often the growing log is looked at, and however "
        "little it overlaps.",
        "{policy}：无论在日志增长中查看多少次、重叠多少，均在 {low} 至 {high} 之间（{level}，ips）。",
    ),
    "evaluation_trust_anytime_sessions": (
        "{policy}: between {low} and {high} ({level}, ips) however often the growing log is looked at, and however "
        "little it overlaps, if no session can have more than {rows} decisions.",
        "{policy}：无论在日志增长中查看多少次、重叠多少，均在 {low} 至 {high} 之间（{level}，ips）；"
        "前提是任何会话都不会超过 {rows} 条决策。",
    ),
    "evaluation_trust_no_anytime": (
        "{policy}: its interval holds for one look at the log. None holds for many looks, because {reward} has no "
        "bound that is known beforehand.",
        "{policy}：区间只对一次查看成立；{reward} 没有事先已知的上下界，因此没有对多次查看同时成立的区间。",
    ),
    "evaluation_trust_tuned": (
        "{policy}: the estimate to read ({estimator}) was chosen by a fixed rule, whatever answer is wanted.",
        "{policy}：所读的估计量（{estimator}）由固定规则选定，与想要的结果无关。",
    ),
    "evaluation_log": ("The log", "日志"),
    "evaluation_log_used": (
        "{used} of {read} rows were used.",
        "共 {read} 行，使用 {used} 行。",
    ),
    "evaluation_log_out": ("Left out: {n} × {reason}.", "略去：{n} 行，{reason}。"),
    "evaluation_evidence": (
        "Your own log: what was shown, with which probability, and what came of it. It holds for people and variants "
        "like those of the log, if the logged probabilities are true; what people would do later, having seen other "
        "choices, is not in it.",
        "您自己的日志：展示了什么、以多大概率展示、结果如何。前提是记录的概率真实，"
        "且结论只适用于与日志相似的人群和变体；人们看到其他选择后的后续行为不在其中。",
    ),
    "evaluation_estimates": ("Estimates side by side", "各估计量对照"),
    "evaluation_estimates_intro": (
        "Each line is one way to estimate the same number, the bold one that to be read; the vertical line is what the "
        "log itself earned. Where they agree, the answer does not hang on a method.",
        "每一行是对同一数值的一种估计，粗体为应读的一行；竖线为日志自身的所得。各行一致时，结论不依赖于方法。",
    ),
    "evaluation_marked": (
        "† the interval covers chance only: this method trades bias for a smaller spread, which no interval shows.",
        "† 区间只含随机误差：该方法以偏差换取较小的波动，而偏差不体现在区间中。",
    ),
    "evaluation_weights": ("Weights", "权重"),
    "evaluation_weights_intro": (
        "A decision weighs as much as the policy would have made it more often than the log did. Few heavy decisions "
        "make an uncertain answer.",
        "权重等于该策略作出此决策的概率与日志概率之比。少数决策权重很大时，答案不确定。",
    ),
    "evaluation_quantile": ("{share} of the decisions weigh at most", "{share} 的决策权重不超过"),
    "evaluation_effective": ("Effective sample size", "有效样本量"),
    "evaluation_mean_weight": ("Mean weight (1 if propensities are true)", "平均权重（倾向概率真实时为 1）"),
    "evaluation_largest": ("Largest weight", "最大权重"),
    "evaluation_overlap": ("What it would show, and what was shown", "它会展示什么，实际展示了什么"),
    "evaluation_overlap_intro": (
        "The variants that {policy} would show most. Where it would show what the log rarely did, little is known.",
        "“{policy}”最常展示的变体。若它会展示日志很少展示的内容，所知便有限。",
    ),
    "evaluation_story": ("Story", "条目"),
    "evaluation_variant": ("Variant", "变体"),
    "evaluation_would": ("Would show", "会展示"),
    "evaluation_was": ("Was shown", "实际展示"),
    "evaluation_times": ("Decisions", "决策数"),
    "evaluation_counts_as": ("Count as", "相当于"),
    "evaluation_over_time": ("Over time", "随时间变化"),
    "evaluation_over_time_intro": (
        "The log's time in equal parts: the policy (line) and the log itself (dashed), over the decisions so far.",
        "把日志的时间等分：策略（实线）与日志自身（虚线），横轴为累计决策数。",
    ),
    "evaluation_method": ("How this was computed", "计算方法"),
    "evaluation_method_text": (
        "Every logged decision is weighed by how much more often the policy would have made it. Intervals keep "
        "the decisions of one session together, and hold for one look at the log unless they say otherwise. Doubly "
        "robust estimates use a reward model that never saw the session it predicts. The choice among estimates is "
        "made by a fixed rule.",
        "每条日志决策按该策略作出它的相对概率加权。区间将同一会话的决策作为整体；除非另有说明，只对一次查看成立。"
        "双重稳健估计所用的奖励模型从未见过所预测的会话。估计量由固定规则选定。",
    ),
    **{
        f"estimator_{name}": texts
        for name, texts in {
            "ips": ("inverse propensity (ips)", "逆倾向（ips）"),
            "snips": ("self-normalised (snips)", "自归一化（snips）"),
            "cips": ("clipped (cips)", "截断（cips）"),
            "dm": ("reward model alone (dm)", "仅奖励模型（dm）"),
            "dr": ("doubly robust (dr)", "双重稳健（dr）"),
            "sndr": ("self-normalised DR (sndr)", "自归一化 DR（sndr）"),
            "switch_dr": ("switch DR (switch_dr)", "切换 DR（switch_dr）"),
            "dr_os": ("shrunk DR (dr_os)", "收缩 DR（dr_os）"),
            "mips": ("by kinds of variants (mips)", "按变体类别（mips）"),
            "snmips": ("normalised kinds (snmips)", "按类别自归一化（snmips）"),
            "replay": ("replay (replay)", "重放（replay）"),
        }.items()
    },
}
