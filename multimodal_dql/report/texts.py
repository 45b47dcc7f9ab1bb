"""Every sentence of the report in English and Chinese, side by side, so that neither can be forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multimodal_dql.errors import Lang
from multimodal_dql.report.evaluation_texts import EVALUATION_TEXTS
from multimodal_dql.report.stability_texts import STABILITY_TEXTS
from multimodal_dql.report.trial_texts import TRIAL_TEXTS

__all__ = ["TEXTS", "Texts"]

# key -> (English, Chinese). Plural forms end in _one and _many.
TEXTS: Mapping[str, tuple[str, str]] = {
    # Head
    "title": ("What to publish", "该发布哪个变体"),
    "kicker": ("Ranking report", "排序报告"),
    "tool": ("multimodal-dql", "multimodal-dql"),
    "skip_link": ("Skip to the stories", "跳到各条目"),
    "stories_one": ("{n} story", "{n} 个条目"),
    "stories_many": ("{n} stories", "{n} 个条目"),
    "variants_one": ("{n} variant", "{n} 个变体"),
    "variants_many": ("{n} variants", "{n} 个变体"),
    "tally_winner_one": ("{n} clear winner", "{n} 个胜者明确"),
    "tally_winner_many": ("{n} clear winners", "{n} 个胜者明确"),
    "tally_lean_one": ("{n} lean", "{n} 个有倾向"),
    "tally_lean_many": ("{n} leans", "{n} 个有倾向"),
    "tally_no_clear_winner_one": ("{n} without a clear winner", "{n} 个分不出胜负"),
    "tally_no_clear_winner_many": ("{n} without a clear winner", "{n} 个分不出胜负"),
    "comma": (", ", "，"),
    "deck": ("Publish these: {tally}.", "建议发布如下变体：{tally}。"),
    "deck_none": ("There was nothing to rank.", "没有可以排序的条目。"),
    "gain_up": (
        "Against {against}, {arm} brings {size} more clicks (95% interval {low} to {high}).",
        "与“{against}”相比，{arm}带来的点击多 {size}（95% 区间 {low} 至 {high}）。",
    ),
    "gain_down": (
        "Against {against}, {arm} brings {size} fewer clicks (95% interval {low} to {high}).",
        "与“{against}”相比，{arm}带来的点击少 {size}（95% 区间 {low} 至 {high}）。",
    ),
    "gain_unsure": (
        "Against {against}, no difference is shown: {uplift} clicks, with a 95% interval from {low} to "
        "{high} that includes zero.",
        "与“{against}”相比，看不出差别：点击变化为 {uplift}，95% 区间 {low} 至 {high} 包含零。",
    ),
    "gain_short": ("clicks against {against}", "点击变化，相对于“{against}”"),
    "interval95": ("95% interval {low} to {high}", "95% 区间 {low} 至 {high}"),
    "no_comparison": (
        "No offline A/B comparison was run for this page, so it says which variant is expected to do best, "
        "not by how much it pays.",
        "本页没有离线 A/B 对比：只说明哪个变体预期最好，不说明收益多少。",
    ),
    "evidence": ("What this rests on", "结论的依据"),
    "audience": ("Audience", "受众"),
    "audience_average": ("the average audience", "平均受众"),
    # Policies
    "arm_learned": ("the agent", "智能体"),
    "arm_first": ("always the first variant", "总是用第一个变体"),
    "arm_uniform": ("a variant drawn at random", "随机选一个变体"),
    "arm_oracle": ("the best variant in hindsight", "事后看最好的变体"),
    "arm_permuted": ("the agent with shuffled content", "内容被打乱的智能体"),
    # The list
    "list": ("The list", "清单"),
    "filter": ("Show", "显示"),
    "filter_all": ("All", "全部"),
    "verdict_winner": ("Clear winner", "胜者明确"),
    "verdict_lean": ("Lean", "有倾向"),
    "verdict_no_clear_winner": ("No clear winner", "分不出胜负"),
    "col_story": ("Story", "条目"),
    "col_publish": ("Placed first", "排第一的变体"),
    "col_chance": ("Chance of being best", "是最佳的概率"),
    "col_chance_short": ("Best", "最佳"),
    "col_rate": ("Expected click rate", "预期点击率"),
    "col_lift": ("Lift", "提升"),
    "lift": ("{lift} lift", "提升 {lift}"),
    "interval90": ("(90% interval {low} to {high})", "（90% 区间 {low} 至 {high}）"),
    "col_rate_interval": ("90% interval", "90% 区间"),
    "col_variant": ("Variant", "变体"),
    "col_headline": ("Headline", "标题"),
    "col_reason": ("Main reason", "主要理由"),
    "col_verdict": ("Verdict", "结论"),
    # Cards
    "stories": ("Story by story", "逐条说明"),
    "choose_winner": ("Publish this", "发布这个"),
    "choose_lean": ("Lean towards this", "倾向于这个"),
    "choose_no_clear_winner": ("First, but not by enough", "排第一，但差距不够"),
    "say_winner": (
        "It is the best of {siblings} with a probability of {chance}.",
        "它是 {siblings}中最佳的概率为 {chance}。",
    ),
    "say_lean": (
        "Probably the best: {chance}, against {second_chance} for {second}. Worth a test if one is cheap.",
        "很可能最佳：概率 {chance}，而 {second} 为 {second_chance}。若测试成本低，值得一试。",
    ),
    "say_no_clear_winner": (
        "No clear winner: {first} ({chance}) is not far enough ahead of {second} ({second_chance}) on this "
        "evidence. Publish either, and test if the choice matters.",
        "分不出胜负：依据现有证据，{first}（{chance}）领先 {second}（{second_chance}）不够多。"
        "两者皆可发布；若选择很重要，请做测试。",
    ),
    "say_alone": (
        "The only variant that could be ranked, so there is nothing to compare it with.",
        "只有这一个变体可以排序，没有可比的对象。",
    ),
    "why": ("Why", "理由"),
    "why_none": ("No single input stands out.", "没有哪项输入特别突出。"),
    "side_for": ("For", "支持"),
    "side_against": ("Against", "不利"),
    "side_neutral": ("Neutral", "中性"),
    "all_variants": ("All variants, best first", "全部变体，从优到次"),
    "picture_alt": ("Thumbnail of variant {variant}: {headline}", "变体 {variant} 的缩略图：{headline}"),
    "picture_alt_plain": ("Thumbnail of variant {variant}", "变体 {variant} 的缩略图"),
    "no_picture": ("No picture", "无图片"),
    "no_headline": ("No headline", "无标题"),
    "picture_unusable": ("Picture not usable", "图片无法使用"),
    "sound_unusable": ("Sound not usable: {reason}", "声音无法使用：{reason}"),
    "left_out": ("Left out to keep this page small", "为控制页面大小，未包含在内"),
    "sound_label": ("Audio teaser of variant {variant}", "变体 {variant} 的音频预告"),
    "sound_seconds": ("Audio teaser, {seconds} s", "音频预告，{seconds} 秒"),
    "sound_cut": ("Audio teaser, first {seconds} s", "音频预告，前 {seconds} 秒"),
    # Offline A/B comparison
    "offline": ("Offline A/B comparison", "离线 A/B 对比"),
    "offline_intro": (
        "Both policies answer the same {sessions} simulated sessions of {stories} that the agent was not "
        "trained on. A dot is one story; the diamond is all of them with its 95% interval.",
        "两种策略面对相同的 {sessions} 次模拟会话，来自智能体训练时没有见过的 {stories}。"
        "圆点是单个条目；菱形是全部条目及其 95% 区间。",
    ),
    "offline_rates": (
        "Clicks a visit: {arm_rate} for {arm}, {against_rate} for {against}.",
        "每次访问的点击：{arm}为 {arm_rate}，“{against}”为 {against_rate}。",
    ),
    "col_against": ("Against", "对比对象"),
    "versus": ("Against {against}", "相对于“{against}”"),
    "overall": ("All stories", "全部条目"),
    "uplift": ("More or fewer clicks", "点击增减"),
    "story_uplifts": ("One dot for each story, from least to most", "每个圆点是一个条目，从低到高"),
    "off_scale_one": (
        "{n} story lies beyond the scale and is drawn at its edge.",
        "有 {n} 个条目超出刻度，画在边缘。",
    ),
    "off_scale_many": (
        "{n} stories lie beyond the scale and are drawn at its edge.",
        "有 {n} 个条目超出刻度，画在边缘。",
    ),
    "not_finite_one": (
        "{n} story has no clicks to compare with and is not drawn.",
        "有 {n} 个条目没有可比的点击，未画出。",
    ),
    "not_finite_many": (
        "{n} stories have no clicks to compare with and are not drawn.",
        "有 {n} 个条目没有可比的点击，未画出。",
    ),
    "control": ("Control", "对照"),
    "control_row": ("Control: shuffled content", "对照：内容被打乱"),
    "control_passed": (
        "With the embeddings shuffled among the variants, {arm} gains {uplift} against {against} "
        "({interval}): the interval includes zero, as it must if the gain comes from the content.",
        "把嵌入向量在各变体之间打乱后，{arm}相对于“{against}”的变化为 {uplift}（{interval}）："
        "区间包含零；如果收益来自内容，理应如此。",
    ),
    "control_failed": (
        "With the embeddings shuffled among the variants, {arm} still shows {uplift} against {against} "
        "({interval}): the interval excludes zero, so part of the difference does not come from the content. "
        "Read the result with care.",
        "把嵌入向量在各变体之间打乱后，{arm}相对于“{against}”的变化仍为 {uplift}（{interval}）："
        "区间不含零，说明部分差别并非来自内容，请谨慎看待结果。",
    ),
    # Training
    "training": ("How the agent learned", "学习过程"),
    "training_intro": (
        "Each curve runs over {steps} training rounds.",
        "每条曲线横跨 {steps} 轮训练。",
    ),
    "curve_label": (
        "{name} over {steps} training rounds: from {first} to {last}, lowest {low}, highest {high}",
        "{steps} 轮训练中的{name}：从 {first} 到 {last}，最低 {low}，最高 {high}",
    ),
    "curve_empty": ("{name}: no numbers were recorded", "{name}：没有记录数值"),
    "curve_last": ("last", "最终"),
    "metric_loss": ("Loss", "损失"),
    "metric_td_error": ("Temporal-difference error", "时序差分误差"),
    "metric_click_rate": ("Click rate", "点击率"),
    "metric_gradient_norm": ("Gradient norm", "梯度范数"),
    "metric_q_largest": ("Largest Q-value", "最大 Q 值"),
    "metric_epsilon": ("Exploration (epsilon)", "探索率 (epsilon)"),
    # Skipped and settings
    "skipped": ("Left out, and why", "未参与排序的内容及原因"),
    "skipped_intro_one": (
        "{n} thing could not be used. The rest was ranked without it.",
        "有 {n} 处无法使用，其余照常排序。",
    ),
    "skipped_intro_many": (
        "{n} things could not be used. The rest was ranked without them.",
        "有 {n} 处无法使用，其余照常排序。",
    ),
    "skipped_more": ("and {n} more", "另有 {n} 处"),
    "settings": ("Settings", "设置"),
    "fact_run": ("Run", "运行"),
    "fact_seed": ("Seed", "随机种子"),
    "fact_encoders": ("Encoders", "编码器"),
    "fact_stories": ("Stories learned from", "学习所用条目"),
    "fact_iterations": ("Training rounds", "训练轮数"),
    "fact_members": ("Ensemble members", "集成成员数"),
    "fact_version": ("Version", "版本号"),
    "reading": ("How to read this page", "如何阅读本页"),
    "reading_chance": (
        "How often no sibling has a higher value, over everything the agent holds possible. Value is clicks "
        "now and later in the same visit, so the order can differ a little from that of the click rates. "
        "From 80% a story has a clear winner; from 50%, and twice the second, a lean.",
        "在智能体认为可能的各种情形中，没有其他变体价值更高的比例。"
        "价值包括当下的点击和同一次访问中之后的点击，因此名次可能与点击率的高低略有不同。"
        "达到 80% 为胜者明确；达到 50% 且为第二名的两倍则为有倾向。",
    ),
    "reading_rate": (
        "Clicks for each time the variant is shown, and the 90% interval (thin line). All variants of a "
        "story share one scale.",
        "变体每展示一次带来的点击及其 90% 区间（细线）。同一条目的各变体使用同一刻度。",
    ),
    "reading_lift": (
        "The click rate against the mean of the story's variants, and the 90% interval (thick band). What "
        "siblings share does not count, so this is the one to compare variants by.",
        "点击率与该条目各变体均值之差及其 90% 区间（粗带）。各变体共有的部分不计入，因此比较变体时请看它。",
    ),
    "reading_effect": (
        "What speaks for (▲) or against (▼) the variant placed first, strongest first. Percentages are of "
        "the expected click rate.",
        "支持（▲）或不利于（▼）排第一的变体的理由，最强的在前。百分比指预期点击率的变化。",
    ),
    "privacy": (
        "This file is complete in itself: it loads nothing from any network, and runs no script.",
        "本文件自成一体：不从网络加载任何内容，也不运行脚本。",
    ),
    # Terminal
    "interval95_heading": ("95% interval", "95% 区间"),
    "sessions": ("Sessions", "会话数"),
    "col_rate_short": ("Click rate", "点击率"),
    "no_items": ("nothing to rank", "没有可以排序的条目"),
    **EVALUATION_TEXTS,
    **STABILITY_TEXTS,
    **TRIAL_TEXTS,
}


class Texts:
    """The sentences in one language.

    >>> Texts("en").plural("stories", 3)
    '3 stories'
    """

    def __init__(self, lang: Lang) -> None:
        self.lang: Lang = lang
        self._column = 1 if lang == "zh" else 0

    def __call__(self, key: str, **fields: Any) -> str:
        """The sentence called `key`, its fields filled in."""
        return TEXTS[key][self._column].format(**fields)

    def plural(self, key: str, n: int) -> str:
        """The form of `key` that goes with `n`, which it names."""
        return self(f"{key}_one" if n == 1 else f"{key}_many", n=f"{n:,}")

    def named(self, prefix: str, name: str) -> str:
        """The word for `name` (a policy, metric or fact); an unknown one loses its underscores only."""
        key = f"{prefix}_{name}"
        return self(key) if key in TEXTS else name.replace("_", " ")
