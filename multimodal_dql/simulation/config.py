"""Every number of the engagement model: its unit, its default and where the default comes from.

Sources: [M] measured on real headline tests (`multimodal-dql engagement fit` on the Upworthy Research
Archive), [P] published, [A] assumed here, because nobody has measured it in public.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

from multimodal_dql.errors import UnknownNameError, UsageError
from multimodal_dql.simulation.engagement import EngagementModel

__all__ = ["MECHANISMS", "EngagementConfig"]


@dataclass(frozen=True)
class EngagementConfig:
    """Parameters of the engagement model. Logits are of the probability of a click.

    Attributes:
        base_click_rate: clicks an impression of an average variant of the median story, averaged over the stories of
            visits [M: .0097; the mean over stories is .0135].
        story_sd: standard deviation between stories, logit [M: .65].
        within_sd: standard deviation between variants of a story, logit [M: .24].
        within_df: degrees of freedom of the t distribution of what no content model can know [M: 4.7].
        content_share: share of the within-story variance that the embeddings can explain [A].
        burst_sd: standard deviation of the logarithm of a factor on a variant's clicks that lasts for `burst_sessions`
            [M: counts of identical arms have 1.76 times the variance of a Poisson count at about 36 clicks, and
            ``1 + 36 (exp(s^2) - 1) = 1.76`` gives s = .145].
        burst_sessions: sessions that share one such factor [A].
        taste_sd: standard deviation of a user's taste match with a variant, logit [A].
        personal_share: share of the taste variance that is the user's own and not the segment's, unseen [A].
        drift: share of a user's own taste that is drawn anew between two visits [A; that interests drift: P, Koren
            2009, Collaborative filtering with temporal dynamics].
        interest_pull: move of a user's taste towards what was clicked, as a share of the distance [P in form:
            RecSim, Ie et al. 2019, interest evolution; A in size].
        clickbait_click: logit of a click for each standard deviation of clickbait [A].
        clickbait_regret: what a story of full clickbait takes from the accumulated exposure, against a neutral one; a
            story without any gives as much [P in form: RecSim long-term satisfaction, 1 there; A in size].
        position_exponent: examination falls as rank to minus this [R: about 1; position-based model, Craswell et
            al. 2008].
        look_after_skip: probability of looking at the next story of the visit after not clicking [A].
        look_after_click: the same after a click [P in form: cascade and dependent-click models, Craswell et al. 2008,
            Guo et al. 2009; A in size].
        device_effect: logit of a click on a desktop against a phone; a tablet is half way [A].
        hour_effect: logit of a click at 21:00 against 15:00, half the amplitude over the day [A].
        activity_sd: standard deviation between users of how ready they are to go on and to come back, logit [A].
        fatigue: loss of logit with each further story in a visit [A].
        wear_in: gain of logit with each repeated exposure of a user to the same variant, up to `wear_peak` [P in
            form: Pechmann & Stewart 1988, wearin and wearout; A in size].
        wear_peak: exposures before wear-out begins [P: about 3, Schmidt & Eisend 2015: up to 10 in the laboratory].
        wear_out: loss of logit with each exposure after that [A].
        boredom: loss of logit for a style a user is bored of [P in form: Kapoor et al. 2015, Just in time
            recommendations: semi-Markov boredom; A in size].
        boredom_threshold: stories of one style, discounted by `boredom_decay` a story, that bring boredom [A].
        boredom_decay: of the count of stories of a style from one story to the next [A].
        boredom_stories: mean length of the bored state beyond one story, in stories, geometric [A].
        memory: share of the accumulated exposure that is left at the next story [P: RecSim long-term satisfaction, .7].
        innovation_sd: standard deviation of what else moves the exposure [P: the same, .05].
        taste_satisfaction: what a perfect taste match adds to the accumulated exposure, against none [A].
        sensitivity: of satisfaction to the accumulated exposure [P: .01 there, where a user sees 60 documents;
            .6 here].
        stay: logit of going on after a story at neutral satisfaction [A].
        stay_satisfaction: what full satisfaction adds to it, against neutral [A].
        visits: of a user at most; 1 means that nobody comes back.
        come_back: logit of coming back at neutral satisfaction [A].
        come_back_satisfaction: what full satisfaction adds to it, against neutral [A].
        gap_hours: mean time between two visits, exponential [A].
        dwell_shape: Weibull shape of reading time, below 1: negative ageing [P: Liu, White & Dumais 2010].
        dwell_scale_seconds: Weibull scale at neutral satisfaction [A].
        dwell_satisfaction: exponent of satisfaction (relative to neutral) in the scale [A].
        conversion_rate: conversions a click at a neutral taste match and no clickbait [A].
        conversion_match: logit of a conversion for each unit of taste match [A].
        conversion_regret: loss of that logit at full clickbait, against none [A].
        conversion_value: mean value of a conversion, in the user's currency [A].
        conversion_value_sd: standard deviation of the logarithm of the value [A].
        steps: stories in a visit at most.
    """

    base_click_rate: float = 0.0097
    story_sd: float = 0.65
    within_sd: float = 0.24
    within_df: float = 4.7
    content_share: float = 0.7
    burst_sd: float = 0.145
    burst_sessions: int = 4096
    taste_sd: float = 0.35
    personal_share: float = 0.3
    drift: float = 0.2
    interest_pull: float = 0.02
    clickbait_click: float = 0.08
    clickbait_regret: float = 0.5
    position_exponent: float = 1.0
    look_after_skip: float = 0.98
    look_after_click: float = 0.9
    device_effect: float = 0.1
    hour_effect: float = 0.05
    activity_sd: float = 0.3
    fatigue: float = 0.05
    wear_in: float = 0.05
    wear_peak: float = 3.0
    wear_out: float = 0.15
    boredom: float = 0.3
    boredom_threshold: float = 2.5
    boredom_decay: float = 0.8
    boredom_stories: float = 2.0
    memory: float = 0.7
    innovation_sd: float = 0.05
    taste_satisfaction: float = 1.0
    sensitivity: float = 0.6
    stay: float = 1.5
    stay_satisfaction: float = 1.5
    visits: int = 3
    come_back: float = -0.5
    come_back_satisfaction: float = 1.5
    gap_hours: float = 20.0
    dwell_shape: float = 0.8
    dwell_scale_seconds: float = 45.0
    dwell_satisfaction: float = 1.0
    conversion_rate: float = 0.03
    conversion_match: float = 0.5
    conversion_regret: float = 0.5
    conversion_value: float = 20.0
    conversion_value_sd: float = 0.5
    steps: int = 8

    @property
    def longest(self) -> int:
        """T, stories of a user at most."""
        return self.steps * self.visits

    def without(self, *mechanisms: str) -> EngagementConfig:
        """The same model with some mechanisms switched off, and nothing else changed.

        Raises `UnknownNameError` for a name that is not in `MECHANISMS`.
        """
        off: dict[str, float] = {}
        for name in mechanisms:
            if name not in MECHANISMS:
                raise UnknownNameError(kind="mechanism", kind_zh="机制", name=name, known=MECHANISMS)
            off |= MECHANISMS[name]
        return replace(self, **off)  # type: ignore[arg-type]

    def assuming(self, pairs: Sequence[str]) -> EngagementConfig:
        """With other numbers, each written ``name=value``.

        Raises:
            UnknownNameError: there is no such parameter.
            UsageError: not a number, or one that no engagement can have.
        """
        known = {f.name: f.type for f in fields(self)}
        changed: dict[str, float] = {}
        for pair in pairs:
            name, _, text = (part.strip() for part in pair.partition("="))
            if name not in known:
                raise UnknownNameError(
                    kind="parameter of the engagement model", kind_zh="参与度模型参数", name=name, known=known
                )
            try:
                changed[name] = int(text) if known[name] == "int" else float(text)
            except ValueError as error:
                raise UsageError(
                    detail=f"'{pair}': write it as name=number, for example fatigue=0.1",
                    detail_zh=f"“{pair}”：请写成 名称=数字，例如 fatigue=0.1",
                ) from error
        out = replace(self, **changed)  # type: ignore[arg-type]
        try:
            out.check()
        except ValueError as error:
            raise UsageError(
                detail=f"{', '.join(pairs)}: {error}; the docstring of EngagementConfig says what each number means",
                detail_zh=f"{'、'.join(pairs)}：{error}；各参数的含义见 EngagementConfig 的文档",
            ) from error
        return out

    def fitted(self, model: EngagementModel) -> EngagementConfig:
        """With the base rate, the spreads, the tails and the overdispersion of a model fitted to A/B tests.

        The factor that lasts for `burst_sessions` gives counts of a typical arm the fitted overdispersion:
        ``1 + clicks (exp(s^2) - 1) = phi``.
        """
        rate = 1.0 / (1.0 + math.exp(-model.base_logit_mean))
        clicks = math.exp(model.log_impressions_mean) * rate
        return replace(
            self,
            base_click_rate=rate,
            story_sd=model.base_logit_sd,
            within_sd=model.within_logit_sd,
            within_df=model.within_df,
            burst_sd=math.sqrt(math.log1p((model.overdispersion - 1.0) / max(clicks, 1.0))),
        )

    def check(self) -> None:
        """Raise ValueError for numbers that no engagement can have."""
        numbers = asdict(self)
        if not all(math.isfinite(value) for value in numbers.values()):
            raise ValueError("every parameter is a finite number")
        for name in ("steps", "visits", "burst_sessions"):
            if numbers[name] != int(numbers[name]) or numbers[name] < 1:
                raise ValueError(f"{name} is a whole number from 1")
        if self.steps > 1000 or self.longest > 10_000:
            raise ValueError("at most 1,000 steps, 10,000 with all visits")
        shares: tuple[str, ...] = (
            "content_share",
            "personal_share",
            "drift",
            "interest_pull",
            "look_after_skip",
        )
        shares += ("look_after_click", "boredom_decay", "memory", "conversion_rate")
        if not all(0.0 <= numbers[name] <= 1.0 for name in shares) or not 0.0 < self.base_click_rate < 1.0:
            raise ValueError("shares and rates lie between 0 and 1")
        sizes = [name for name in numbers if name.endswith("_sd")] + [
            "boredom_stories",
            "gap_hours",
            "wear_peak",
        ]
        if min(numbers[name] for name in sizes) < 0 or self.within_df <= 2.0:
            raise ValueError("standard deviations and durations are not negative")
        if min(self.dwell_shape, self.dwell_scale_seconds, self.conversion_value) <= 0:
            raise ValueError("dwell and value are positive")


MECHANISMS: dict[str, dict[str, float]] = {
    "taste": {"taste_sd": 0.0},
    "drift": {"drift": 0.0, "interest_pull": 0.0},
    "clickbait": {"clickbait_click": 0.0, "clickbait_regret": 0.0, "conversion_regret": 0.0},
    "position": {"position_exponent": 0.0},
    "cascade": {"look_after_skip": 1.0, "look_after_click": 1.0},
    "overdispersion": {"burst_sd": 0.0},
    "device": {"device_effect": 0.0},
    "hour": {"hour_effect": 0.0},
    "activity": {"activity_sd": 0.0},
    "fatigue": {"fatigue": 0.0},
    "wear": {"wear_in": 0.0, "wear_out": 0.0},
    "boredom": {"boredom": 0.0},
    "satisfaction": {"sensitivity": 0.0},
    "return": {"visits": 1},
    "conversion": {"conversion_rate": 0.0},
}
"""What switches each mechanism off."""
