"""From results to what the page shows: every number written out and every drawing made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from multimodal_dql.datasets.catalogue import Catalogue, Variant
from multimodal_dql.ranking import RankedItem, RankedVariant, Ranking
from multimodal_dql.report import numbers, plots
from multimodal_dql.report.inline import CHOSEN_WIDTH, THUMBNAIL_WIDTH, Inliner, Picture, Sound
from multimodal_dql.report.texts import Texts
from multimodal_dql.report.usertext import language_of, variants_by_key

__all__ = [
    "Label",
    "ReasonView",
    "StoryView",
    "VariantView",
    "has_lifts",
    "label",
    "say",
    "story_views",
    "tick_digits",
]


@dataclass(frozen=True)
class Label:
    """A user's text with what a browser must know to speak and draw it.

    Attributes:
        text: as the user wrote it, or our own words where there is none.
        lang: language tag; empty means unknown.
        ours: whether these are our words (no headline).

    """

    text: str
    lang: str = ""
    ours: bool = False


@dataclass(frozen=True)
class ReasonView:
    """A reason: the sentence, and whether it speaks ``for`` or ``against`` the variant, or is ``neutral``."""

    text: str
    side: str


@dataclass(frozen=True)
class VariantView:
    """One row of a story's list."""

    variant_id: str
    rank: int
    headline: Label
    alt: str
    thumbnail: Picture | None
    sound: Sound | None
    chance: str
    chance_bar: Markup
    rate: str
    rate_interval: str
    rate_strip: Markup
    lift: str
    lift_interval: str
    reasons: tuple[ReasonView, ...]


@dataclass(frozen=True)
class StoryView:
    """One story: its card and its line in the list."""

    anchor: str
    item_id: str
    title: Label
    verdict: str
    sentence: str
    picture: Picture | None
    variants: tuple[VariantView, ...]
    rate_axis: Markup
    has_pictures: bool

    @property
    def chosen(self) -> VariantView:
        """The variant placed first."""
        return self.variants[0]


def label(text: str | None, instead: str) -> Label:
    """`text` with its language, or our words `instead` of an empty one."""
    return Label(text, language_of(text)) if text and text.strip() else Label(instead, ours=True)


def say(item: RankedItem, t: Texts) -> str:
    """The verdict on `item` as a sentence."""
    first = item.variants[0]
    if len(item.variants) == 1:
        return t("say_alone")
    second = item.variants[1]
    return t(
        f"say_{item.verdict}",
        first=first.variant_id,
        second=second.variant_id,
        siblings=t.plural("variants", len(item.variants)),
        chance=numbers.chance(first.probability_best),
        second_chance=numbers.chance(second.probability_best),
    )


def story_views(ranking: Ranking, catalogue: Catalogue, t: Texts, media: Inliner) -> tuple[StoryView, ...]:
    """One view for each ranked item that has variants, in the order of the catalogue."""
    titles = {item.item_id: item.title for item in catalogue.items}
    known = variants_by_key(catalogue)
    items = [item for item in ranking.items if item.variants]
    heads = [
        _head(item, known, media) for item in items
    ]  # what is chosen has the first call on the page's budget
    return tuple(
        _story(
            number,
            item=item,
            title=titles.get(item.item_id, item.item_id),
            known=known,
            head=head,
            t=t,
            media=media,
        )
        for number, (item, head) in enumerate(zip(items, heads, strict=True), start=1)
    )


@dataclass(frozen=True)
class _Head:
    picture: Picture | None
    thumbnail: Picture | None
    sound: Sound | None


def _head(item: RankedItem, known: Mapping[tuple[str, str], Variant], media: Inliner) -> _Head:
    variant = known.get((item.item_id, item.variants[0].variant_id))
    image = variant.image if variant else None
    audio = variant.audio if variant else None
    return _Head(
        media.picture(image, CHOSEN_WIDTH) if image else None,
        media.picture(image, THUMBNAIL_WIDTH) if image else None,
        media.sound(audio) if audio else None,
    )


def _story(
    number: int,
    *,
    item: RankedItem,
    title: str,
    known: Mapping[tuple[str, str], Variant],
    head: _Head,
    t: Texts,
    media: Inliner,
) -> StoryView:
    rates = _Rates.of(item)
    views = []
    for ranked in item.variants:
        variant = known.get((item.item_id, ranked.variant_id))
        if ranked is item.variants[0]:
            thumbnail, sound = head.thumbnail, head.sound
        else:
            thumbnail = media.picture(variant.image, THUMBNAIL_WIDTH) if variant and variant.image else None
            sound = media.sound(variant.audio) if variant and variant.audio else None
        views.append(_variant(ranked, variant, thumbnail=thumbnail, sound=sound, rates=rates, t=t))
    return StoryView(
        anchor=f"story-{number}",
        item_id=item.item_id,
        title=label(title if title.strip() else item.item_id, item.item_id),
        verdict=item.verdict,
        sentence=say(item, t),
        picture=head.picture,
        variants=tuple(views),
        rate_axis=rates.axis(),
        has_pictures=any(view.thumbnail for view in views),
    )


def _variant(
    ranked: RankedVariant,
    variant: Variant | None,
    *,
    thumbnail: Picture | None,
    sound: Sound | None,
    rates: _Rates,
    t: Texts,
) -> VariantView:
    headline = label(variant.caption if variant else None, t("no_headline"))
    low, high = (numbers.rate(x, rates.digits) for x in (ranked.click_rate_low, ranked.click_rate_high))
    return VariantView(
        variant_id=ranked.variant_id,
        rank=ranked.rank,
        headline=headline,
        alt=t("picture_alt_plain", variant=ranked.variant_id)
        if headline.ours
        else t("picture_alt", variant=ranked.variant_id, headline=headline.text),
        thumbnail=thumbnail,
        sound=sound,
        chance=numbers.chance(ranked.probability_best),
        chance_bar=plots.bar(ranked.probability_best),
        rate=numbers.rate(ranked.click_rate, rates.digits),
        rate_interval=f"{low.removesuffix('%')}–{high}",
        rate_strip=rates.strip(ranked),
        lift=t("lift", lift=_signed(ranked.lift)) if rates.lifted else "",
        lift_interval=t("interval90", low=_signed(ranked.lift_low), high=_signed(ranked.lift_high)),
        reasons=tuple(_reasons(ranked, t)),
    )


@dataclass(frozen=True)
class _Rates:
    """The scale that the click rates of one story share.

    Attributes:
        scale: holds every interval of the story.
        digits: decimals of a rate in percent.
        lifted: whether lifts are known.

    """

    scale: plots.Scale
    digits: int
    lifted: bool

    @classmethod
    def of(cls, item: RankedItem) -> _Rates:
        lifted = has_lifts(item)
        ends = [x for v in item.variants for x in (v.click_rate, v.click_rate_low, v.click_rate_high)]
        if lifted:
            ends += [x for v in item.variants for x in _core(v)]
        digits = numbers.rate_digits(*(v.click_rate for v in item.variants))
        return cls(plots.scale_of(ends, at_most_ticks=4), digits, lifted)

    def strip(self, ranked: RankedVariant) -> Markup:
        low, high = ranked.click_rate_low, ranked.click_rate_high
        core = _core(ranked) if self.lifted else None
        return plots.interval(self.scale, ranked.click_rate, low, high, core=core)

    def axis(self) -> Markup:
        digits = tick_digits(self.scale.ticks)
        return plots.axis(self.scale, lambda tick: numbers.rate(tick, digits))


def _core(ranked: RankedVariant) -> tuple[float, float]:
    """The interval of the lift in units of the click rate: what sets this variant apart from its siblings."""
    mean = ranked.click_rate / (1 + ranked.lift) if ranked.lift > -1 else math.nan
    return mean * (1 + ranked.lift_low), mean * (1 + ranked.lift_high)


def has_lifts(item: RankedItem) -> bool:
    """Whether the lifts of `item` were filled in (they are all zero by default) and say anything."""
    return len(item.variants) > 1 and any(v.lift_low != v.lift_high for v in item.variants)


def _signed(value: float) -> str:
    return numbers.signed_percent(value, minus="−")


def _reasons(ranked: RankedVariant, t: Texts) -> Iterable[ReasonView]:
    for reason in ranked.reasons:
        side = "for" if reason.effect > 0 else "against" if reason.effect < 0 else "neutral"
        yield ReasonView(reason.text(t.lang), side)


def tick_digits(ticks: Sequence[float]) -> int:
    """Decimals that tell all `ticks` apart when written in percent."""
    for digits in range(5):
        written = [round(100 * tick, digits) for tick in ticks]
        if all(
            math.isclose(w, 100 * tick, rel_tol=1e-9, abs_tol=1e-12)
            for w, tick in zip(written, ticks, strict=True)
        ):
            return digits
    return 5
