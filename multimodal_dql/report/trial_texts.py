"""What the report of an offline A/B simulation says, in English and Chinese, side by side."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["TRIAL_TEXTS"]

# key -> (English, Chinese), as in `multimodal_dql.report.texts`, which takes these in.
TRIAL_TEXTS: Mapping[str, tuple[str, str]] = {
    # Head
    "trial_title": ("Which policy earns more?", "哪种策略效果更好？"),
    "trial_kicker": ("Offline A/B simulation", "离线 A/B 模拟"),
    "trial_skip": ("Skip to the verdict", "跳到结论"),
    "trial_deck_alone": (
        "Only one policy was run, so there is nothing to compare it with.",
        "只运行了一种策略，没有可比的对象。",
    ),
    "trial_deck": (
        "{n} policies compared with {against}: {tally}.",
        "{n} 种策略与“{against}”相比：{tally}。",
    ),
    "trial_tally_ahead": ("{n} ahead", "{n} 种更好"),
    "trial_tally_behind": ("{n} behind", "{n} 种更差"),
    "trial_tally_same": ("{n} without a meaningful difference", "{n} 种没有实质差别"),
    "trial_tally_open": ("{n} without enough data", "{n} 种数据不足"),
    "trial_tally_invalid": ("{n} invalid", "{n} 种无效"),
    "trial_verdict": ("The verdict", "结论"),
    "trial_ending_ahead": ("Wins", "胜出"),
    "trial_ending_behind": ("Loses", "落败"),
    "trial_ending_same": ("No meaningful difference", "没有实质差别"),
    "trial_ending_open": ("Not enough data", "数据不足"),
    "trial_ending_invalid": ("Invalid: sample ratio", "无效：样本比例不符"),
    # Sentences
    "trial_say_ahead": (
        "Against {against}, {arm} brings {size} {more} ({level} interval {low} to {high}).",
        "与“{against}”相比，“{arm}”的{more}多 {size}（{level} 区间 {low} 至 {high}）。",
    ),
    "trial_say_behind": (
        "Against {against}, {arm} brings {size} {fewer} ({level} interval {low} to {high}): {against} wins.",
        "与“{against}”相比，“{arm}”的{fewer}少 {size}（{level} 区间 {low} 至 {high}）：“{against}”胜出。",
    ),
    "trial_say_same": (
        "No meaningful difference between {arm} and {against}: the {level} interval of the effect on {outcome}, "
        "{low} to {high}, lies within ±{minimum}.",
        "“{arm}”与“{against}”没有实质差别：{outcome}变化的 {level} 区间（{low} 至 {high}）完全落在 ±{minimum} 之内。",
    ),
    "trial_say_open": (
        "Not enough data to tell {arm} from {against}: the effect on {outcome} is {effect}, and its {level} "
        "interval runs from {low} to {high}.",
        "数据不足以区分“{arm}”与“{against}”：{outcome}的变化为 {effect}，{level} 区间为 {low} 至 {high}。",
    ),
    "trial_say_unbounded": (
        "Not enough data to tell {arm} from {against}: the interval of the effect on {outcome} has no end. "
        "Simulate more sessions.",
        "数据不足以区分“{arm}”与“{against}”：{outcome}变化的区间没有边界。请模拟更多会话。",
    ),
    "trial_say_invalid": (
        "Invalid: the policies did not get the planned shares of the sessions (sample ratio, p {p}). Do not read "
        "the result of {arm} against {against}; find out why first.",
        "无效：各策略分到的会话份额与计划不符（样本比例检验，p {p}）。"
        "请勿解读“{arm}”与“{against}”的比较结果，先查明原因。",
    ),
    "trial_small": (
        "It may still be smaller than the {minimum} that would matter.",
        "但实际效应仍可能小于有意义的 {minimum}。",
    ),
    "trial_tiny": ("The difference is real, and too small to matter.", "差别确实存在，但小到没有意义。"),
    "trial_settle": (
        "If that effect is the true one, about {n} sessions in all would settle it (chance of 80%).",
        "如果这就是真实效应，总共约需 {n} 次会话即可得出结论（把握为 80%）。",
    ),
    "trial_settle_never": (
        "No number of sessions can be named that would settle it.",
        "无法给出足以得出结论的会话数。",
    ),
    "trial_stopped": (
        "It stopped early, after {sessions} of {planned} planned sessions, as its rule allows.",
        "按规则提前停止：计划 {planned} 次会话，实际运行 {sessions} 次。",
    ),
    "trial_stories_alone": (
        "For other stories like these, not only for more sessions of these {n}: {arm} against {against}, {effect} "
        "clicks (95% interval {low} to {high}).",
        "若换成同类的其他条目，而不只是这 {n} 个条目的更多会话：“{arm}”与“{against}”相比，点击变化为 {effect}"
        "（95% 区间 {low} 至 {high}）。",
    ),
    "trial_stories_all": (
        "For other stories like these, not only for more sessions of these {n}, clicks against {against}, 95% "
        "intervals: {effects}.",
        "若换成同类的其他条目，而不只是这 {n} 个条目的更多会话，与“{against}”相比的点击变化及 95% 区间：{effects}。",
    ),
    "trial_stories_arm": ("{arm} {effect} ({low} to {high})", "“{arm}”为 {effect}（{low} 至 {high}）"),
    "trial_stories_unsure": (
        "Where that interval includes zero, these stories do not show that others would go the same way.",
        "区间包含零时，这些条目不能说明其他条目也会如此。",
    ),
    "semicolon": ("; ", "；"),
    # How sure, and of what
    "trial_trust": ("How far to trust it", "结论有多可靠"),
    "trial_crn": (
        "Every session was met by each policy, with the same user and the same luck (common random numbers): "
        "intervals are {width} as wide as they would be with separate sessions for each policy, worth {times} times "
        "the sessions.",
        "每次会话都让各策略面对同样的用户与同样的运气（共同随机数）：区间宽度只有各策略分别使用独立会话时的 {width}，"
        "相当于 {times} 倍的会话数。",
    ),
    "trial_range": ("{low} to {high}", "{low} 至 {high}"),
    "trial_cuped": (
        "What was known about users beforehand (CUPED) explains {explained} of the variance, which makes the "
        "intervals {narrower} narrower.",
        "事先已知的用户信息（CUPED）解释了方差的 {explained}，使区间收窄 {narrower}。",
    ),
    "trial_ratio_passed": (
        "Sample-ratio check: passed, p {p}.",
        "样本比例检验：通过，p {p}。",
    ),
    "trial_ratio_failed": (
        "Sample-ratio check: failed, p {p}.",
        "样本比例检验：未通过，p {p}。",
    ),
    "trial_corrected": (
        "The intervals of all {n} comparisons hold together (Bonferroni); p-values are adjusted by Holm.",
        "全部 {n} 项比较的区间同时成立（Bonferroni）；p 值按 Holm 方法校正。",
    ),
    "trial_regret": (
        "A policy that knows how every user would respond (the oracle) reaches {value} {outcome}. Compared with "
        "it: {arms}.",
        "若策略知道每位用户会如何反应（全知策略），{outcome}可达 {value}。与之相比：{arms}。",
    ),
    "trial_regret_arm": ("{arm} {gap}", "“{arm}”为 {gap}"),
    "trial_long_term": (
        "Greed on the next click alone, with the same knowledge, earns {size} less than the oracle: that is what "
        "looking beyond the click is worth here.",
        "同样知情、却只追求下一次点击的策略，比全知策略少 {size}：这就是此处顾及长期的价值。",
    ),
    "trial_no_long_term": (
        "Greed on the next click alone, with the same knowledge, earns as much as the oracle: looking beyond the "
        "click is worth nothing here.",
        "同样知情、却只追求下一次点击的策略，与全知策略相当：此处顾及长期没有额外价值。",
    ),
    "trial_evidence": (
        "A simulated audience, not real readers. The figures say what these policies would earn if people behaved "
        "as the engagement model does; before much depends on it, test live.",
        "依据是模拟受众，而非真实读者。这些数字说明：如果人们的行为与互动模型一致，各策略会有怎样的效果；"
        "在作重要决定之前，请做线上测试。",
    ),
    # Tables
    "trial_arms": ("The policies", "各策略"),
    "trial_arm": ("Policy", "策略"),
    "trial_effect": ("Effect", "效应"),
    "trial_interval": ("{level} interval", "{level} 区间"),
    "trial_p": ("Adjusted p", "校正后 p"),
    "trial_versus": ("{arm} against {against}", "“{arm}”与“{against}”相比"),
    "trial_reference": ("Reference", "对照"),
    "trial_all_outcomes": ("All outcomes", "全部指标"),
    "trial_all_outcomes_intro": (
        "What a session brings under each policy, and the effect against {against}. All intervals here are 95% "
        "each, not corrected for their number: one in twenty misses. A dash: too little happened to tell.",
        "每种策略下一次会话带来的结果，以及与“{against}”相比的效应。此处各区间均为单独的 95% 区间，未按数量校正："
        "平均二十个中有一个不含真值。短横表示发生得太少，无法判断。",
    ),
    "trial_levels_only": (
        "What a session brings under each policy, with 95% intervals. Effects are left out, as they must not be read.",
        "每种策略下一次会话带来的结果及 95% 区间。效应不应解读，因此未列出。",
    ),
    "trial_level": ("Mean", "均值"),
    "trial_over_time": ("Effect over time", "效应随时间的变化"),
    "trial_over_time_intro": (
        "The effect at each look, with the interval that the rule allows at that look. The shaded strip is what "
        "would be too small to matter.",
        "每次查看时的效应，以及规则在该时刻允许的区间。浅色带为小到没有意义的范围。",
    ),
    "trial_curve_label": (
        "Effect of {arm} against {against} over {sessions} sessions; at the end {effect}, interval {low} to {high}",
        "“{arm}”相对于“{against}”的效应，共 {sessions} 次会话；最终为 {effect}，区间 {low} 至 {high}",
    ),
    "trial_segments": ("Who it works for", "对哪些人有效"),
    "trial_segments_intro": (
        "The effect on {outcome} in each group of users, 95% each, not corrected: read a group that stands apart as "
        "a question, not as an answer.",
        "各用户组中{outcome}的效应，单独的 95% 区间，未校正：某一组与众不同时，应视为问题，而非答案。",
    ),
    "trial_everyone": ("Everyone", "全部用户"),
    "trial_distribution": ("Clicks a session", "每次会话的点击数"),
    "trial_distribution_intro": (
        "Share of sessions by number of clicks. The short lines mark {against}.",
        "按点击数划分的会话占比。短横线标出“{against}”的占比。",
    ),
    "trial_bars_label": (
        "Sessions by clicks under {arm}: {shares}",
        "“{arm}”下按点击数划分的会话：{shares}",
    ),
    "trial_by_story": ("Story by story", "逐条目"),
    "trial_by_story_intro": (
        "Difference in expected clicks on each story, from least to most. The diamond is all of them, with the 95% "
        "interval for other stories like these.",
        "每个条目预期点击的变化，从低到高。菱形为全部条目及其对同类其他条目的 95% 区间。",
    ),
    "trial_references": ("What was left on the table", "与最优的差距"),
    "trial_regret_column": ("Compared with the oracle", "与全知策略相比"),
    "trial_reference_oracle": (
        "Oracle: knows every user, looks beyond the click",
        "全知策略：了解每位用户，并顾及长期",
    ),
    "trial_reference_myopic": (
        "Greed: knows every user, wants the next click",
        "短视策略：了解每位用户，只求下一次点击",
    ),
    "trial_references_note": (
        "The oracle is the best of a family of rules, tuned on users of its own; it is no proof that nothing better "
        "exists.",
        "全知策略是一族规则中最好的一个，在另外的用户上调定；这并不证明不存在更好的策略。",
    ),
    # Method
    "trial_method": ("Method", "方法"),
    "trial_design": ("Design", "设计"),
    "trial_design_paired": (
        "paired: each session is met by every policy",
        "配对：每次会话由所有策略各处理一遍",
    ),
    "trial_design_randomised": (
        "randomised: each session is met by one policy",
        "随机分组：每次会话只由一种策略处理",
    ),
    "trial_outcome": ("Decided on", "评判指标"),
    "trial_against": ("Compared with", "对照策略"),
    "trial_sessions_of": ("{done} of {planned}", "{done}（计划 {planned}）"),
    "trial_rule": ("Stopping rule", "停止规则"),
    "trial_rule_fixed": ("fixed: read once, at the end", "固定样本：结束时只看一次"),
    "trial_rule_group-sequential": (
        "group-sequential: may stop at a planned look (O'Brien-Fleming)",
        "成组序贯：可在计划的时点停止（O'Brien-Fleming）",
    ),
    "trial_rule_anytime": (
        "anytime: may be read and stopped at any look",
        "随时有效：任何时刻都可查看并停止",
    ),
    "trial_looks": ("Looks", "查看次数"),
    "trial_alpha": ("Chance of a false winner (alpha)", "误判胜者的概率（alpha）"),
    "trial_minimum": ("Smallest effect that matters", "最小有用效应"),
    "trial_refresh": ("Policies that learn see the counts", "学习型策略更新计数"),
    "trial_refresh_every": ("every {n} sessions", "每 {n} 次会话"),
    "trial_shares": ("Sessions of each policy", "各策略的会话数"),
    "trial_ratio": ("Sample ratio, p", "样本比例检验 p"),
    # Policies; those of rankings are in `texts`
    "arm_dqn": ("the agent", "智能体"),
    "arm_thompson": ("Thompson sampling", "汤普森采样"),
    "arm_ucb": ("upper confidence bound (UCB)", "置信上界 (UCB)"),
    "arm_epsilon-greedy": ("epsilon-greedy choice", "ε-贪心"),
    "arm_explore-commit": ("explore, then commit", "先探索后锁定"),
    "arm_lola": ("LOLA (predictions and two bounds)", "LOLA（预测加双置信上界）"),
    "arm_eb-ucb": ("empirical-Bayes UCB", "经验贝叶斯 UCB"),
    "arm_shuffled": ("the agent with shuffled content", "内容被打乱的智能体"),
    "arm_linucb": ("linear UCB", "线性 UCB"),
    "arm_online": ("an agent that learns as it goes", "边投放边学习的智能体"),
    "arm_linear-thompson": ("linear Thompson sampling", "线性汤普森采样"),
    # Outcomes: what they are called, and what more and less of them is
    "outcome_clicks": ("clicks a session", "每会话点击数"),
    "outcome_click_rate": ("click rate", "点击率"),
    "outcome_dwell_seconds": ("seconds of reading a session", "每会话阅读秒数"),
    "outcome_satisfaction": ("satisfaction", "满意度"),
    "outcome_conversions": ("conversions a session", "每会话转化数"),
    "outcome_conversion_value": ("conversion value a session", "每会话转化价值"),
    "outcome_return": ("users who come back", "回访用户占比"),
    "outcome_stories": ("stories shown a session", "每会话展示条目数"),
    "more_clicks": ("more clicks a session", "每会话点击数"),
    "more_click_rate": ("more clicks an impression", "点击率"),
    "more_dwell_seconds": ("more reading time a session", "每会话阅读秒数"),
    "more_satisfaction": ("more satisfaction", "满意度"),
    "more_conversions": ("more conversions a session", "每会话转化数"),
    "more_conversion_value": ("more conversion value a session", "每会话转化价值"),
    "more_return": ("more users who come back", "回访用户占比"),
    "more_stories": ("more stories a session", "每会话展示条目数"),
    "fewer_clicks": ("fewer clicks a session", "每会话点击数"),
    "fewer_click_rate": ("fewer clicks an impression", "点击率"),
    "fewer_dwell_seconds": ("less reading time a session", "每会话阅读秒数"),
    "fewer_satisfaction": ("less satisfaction", "满意度"),
    "fewer_conversions": ("fewer conversions a session", "每会话转化数"),
    "fewer_conversion_value": ("less conversion value a session", "每会话转化价值"),
    "fewer_return": ("fewer users who come back", "回访用户占比"),
    "fewer_stories": ("fewer stories a session", "每会话展示条目数"),
    # Groups of users
    "group_segment=explorer": ("Explorers", "探索型"),
    "group_segment=planner": ("Planners", "计划型"),
    "group_segment=socialiser": ("Socialisers", "社交型"),
    "group_segment=hurried": ("In a hurry", "匆忙型"),
    "group_device=mobile": ("Telephone", "手机"),
    "group_device=desktop": ("Computer", "电脑"),
    "group_device=tablet": ("Tablet", "平板"),
}
