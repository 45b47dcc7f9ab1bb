"""The network: fusion of modalities and a dueling Q head over a set of candidates (Keras 3 on TensorFlow).

All members of the ensemble live in one graph: every kernel has a leading axis ``M``, so that one matrix product
serves them all. Shape letters as in `multimodal_dql.state`; ``H`` is the hidden width.

Formulas:
    ``A(s, a) = r(s, a) + later(s, a)``: the expected reward now, and the difference the choice makes later; see
    `NetworkConfig.advantage` for what is learned where.
    ``Q(s, a) = V(s) + A(s, a) - mean over available candidates of A(s, .)`` (Wang et al. 2016, "Dueling Network
    Architectures", eq. 9, with the mean taken over the candidates that exist).
    FiLM, ``h * (1 + gamma(c)) + beta(c)`` (Perez et al. 2018): the audience re-weighs what a variant shows.
    Pooling over the set (Zaheer et al. 2017, "Deep Sets"): permuting the candidates permutes the outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from multimodal_dql.errors import UnknownNameError, UsageError

__all__ = ["ADVANTAGES", "CandidateQNetwork", "MemberDense", "MemberNorm", "NetworkConfig", "dueling"]

ADVANTAGES = ("click_and_later", "reward_and_later", "reward_and_linear", "reward_and_price", "whole")
"""See `NetworkConfig`."""


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of a `CandidateQNetwork`; saved as JSON beside the weights.

    Attributes:
        widths: projected width of each encoder; their sum is P.
        context_width: C.
        record_width: R.
        base_rate: clicks an impression in training; the unit of Q, and where the click logit starts.
        hidden: H.
        members: M, independent networks trained on different stories.
        modality_dropout: probability that a present modality is hidden in training (Neverova et al. 2016, "ModDrop").
        content_noise: standard deviation of Gaussian noise on the content in training (Bishop 1995: like a ridge
            penalty), so that a member cannot know a training story by its exact embedding.
        seed: of the initial weights.
        advantage: what the advantage is made of. ``click_and_later``: the click probability, learned from clicks, plus
            few weights for what follows. ``reward_and_later``: the reward now, a head on the scored candidate that is
            learned from rewards of any kind, plus another for what follows; the noise of the future stays out of
            what is known about the next reward, as with clicks. ``reward_and_linear``: the same with few weights for
            what follows, one for each number of the record, for the reward now and for their products, where the
            noise leaves no more to be learned. ``reward_and_price``: the reward now minus what it spends of a limited
            stock, at the price of that stock: ``A = r - c p``, with a head each for the reward r, the expected
            spending c and the price p >= 0, the value of one more unit of stock in the time to come (see
            `multimodal_dql.learning.prices`). ``whole``: one head for both, as in Wang et al.
        value_scale: what the value head's output is multiplied by; about the number of steps that Q adds up, so that
            its weights need not grow to that size. Not with ``click_and_later``.
        bins: Z; above 0 value and advantage are logits over bins of Q, summed as in Wang et al. 2016 and Bellemare
            et al. 2017 (C51), to be learned by cross-entropy (`multimodal_dql.learning.losses`). With ``whole`` only.
        bin_low: lower edge of the first bin, in the unit of Q.
        bin_high: upper edge of the last bin.
        audience: width of the layer that reads the context; None is H. A decision reads each weight once, so a narrow
            one decides faster.
    """

    widths: tuple[int, ...]
    context_width: int
    record_width: int
    base_rate: float
    hidden: int = 48
    members: int = 10
    modality_dropout: float = 0.1
    content_noise: float = 0.5
    seed: int = 0
    advantage: str = "click_and_later"
    value_scale: float = 1.0
    bins: int = 0
    bin_low: float = 0.0
    bin_high: float = 10.0
    audience: int | None = None

    def __post_init__(self) -> None:
        if self.advantage not in ADVANTAGES:
            raise UnknownNameError(
                kind="advantage", kind_zh="优势函数", name=self.advantage, known=ADVANTAGES
            )
        if self.bins and (self.advantage != "whole" or self.bins < 2 or not self.bin_low < self.bin_high):
            raise UsageError(
                detail="bins: 2 or more, with bin_low below bin_high and advantage='whole'; or 0 for none",
                detail_zh="bins：至少为 2，bin_low 小于 bin_high，且 advantage='whole'；不分箱请写 0",
            )


def dueling(value: Any, advantage: Any, available: Any) -> Any:
    """Combine value (..., 1) and advantage (..., K) into Q (..., K); `available` (..., K) is 0 or 1.

    The mean runs over the available candidates only, so that padding changes nothing.
    """
    available = ops.cast(available, advantage.dtype)
    count = ops.maximum(ops.sum(available, axis=-1, keepdims=True), 1.0)
    mean = ops.sum(advantage * available, axis=-1, keepdims=True) / count
    return value + advantage - mean


class MemberDense(keras.layers.Layer):
    """A dense layer for each of M members: (M, ..., I) or shared (..., I) -> (M, ..., units)."""

    def __init__(
        self, units: int, members: int, *, shared: bool = False, scale: float = 2.0, seed: int = 0, **kw: Any
    ) -> None:
        super().__init__(**kw)
        self.units, self.members, self.shared, self.scale, self.seed = units, members, shared, scale, seed

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Variance-scaling kernels (He et al. 2015 at scale 2), zero biases."""
        fan_in = int(input_shape[-1] or 0)
        init = keras.initializers.RandomNormal(stddev=(self.scale / max(fan_in, 1)) ** 0.5, seed=self.seed)
        self.kernel = self.add_weight(
            name="kernel", shape=(self.members, fan_in, self.units), initializer=init
        )
        self.bias = self.add_weight(name="bias", shape=(self.members, self.units), initializer="zeros")

    def call(self, x: Any) -> Any:
        """One matrix product for all members and all rows."""
        shape = ops.shape(x)
        middle = shape[:-1] if self.shared else shape[1:-1]
        rows = ops.reshape(x, (1, -1, shape[-1]) if self.shared else (self.members, -1, shape[-1]))
        y = ops.matmul(rows, self.kernel) + self.bias[:, None, :]
        return ops.reshape(y, (self.members, *middle, self.units))


class MemberNorm(keras.layers.Layer):
    """Layer normalisation (Ba et al. 2016) with a gain and an offset for each member: (M, ..., H) -> same."""

    def __init__(self, members: int, *, epsilon: float = 1e-5, **kw: Any) -> None:
        super().__init__(**kw)
        self.members, self.epsilon = members, epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Gain 1, offset 0."""
        shape = (self.members, *([1] * (len(input_shape) - 2)), int(input_shape[-1] or 0))
        self.gain = self.add_weight(name="gain", shape=shape, initializer="ones")
        self.offset = self.add_weight(name="offset", shape=shape, initializer="zeros")

    def call(self, x: Any) -> Any:
        """Normalise over the last axis."""
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        return centred * ops.rsqrt(variance + self.epsilon) * self.gain + self.offset


class CandidateQNetwork(keras.Model):
    """Score every candidate of every decision, by every member.

    Inputs (a dict, as `State.inputs` gives): content (B, K, P), present (B, K, E), record (B, K, R), context (B, C),
    available (B, K). Outputs: ``q`` (M, B, K), meaningless where not available, and ``click_logit`` (M, B, K); with
    a reward head also ``reward`` (M, B, K), and with bins ``q_logits`` (M, B, K, Z).
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(name="candidate_q_network")
        self.config = config
        self.base_logit = math.log(config.base_rate / (1.0 - config.base_rate))
        m, h = config.members, config.hidden
        seeds = iter(range(config.seed * 1000 + 1, config.seed * 1000 + 1000))

        def dense(units: int, name: str, *, shared: bool = False, scale: float = 2.0) -> MemberDense:
            return MemberDense(units, m, shared=shared, scale=scale, seed=next(seeds), name=name)

        def norm(name: str) -> MemberNorm:
            return MemberNorm(m, name=name)

        self.project = [dense(h, f"project_{i}", shared=True) for i in range(len(config.widths))]
        self.project_norm = [norm(f"project_{i}_norm") for i in range(len(config.widths))]
        self.fuse, self.fuse_norm = dense(h, "fuse"), norm("fuse_norm")
        self.audience = dense(config.audience or h, "audience", shared=True)
        self.audience_norm = norm("audience_norm")
        self.film = dense(2 * h, "film", scale=0.1)
        self.own, self.siblings, self.set_norm = (
            dense(h, "own"),
            dense(h, "siblings", scale=0.5),
            norm("set_norm"),
        )
        self.taste = dense(sum(config.widths), "taste", shared=True, scale=0.0)
        self.trust = dense(2, "trust", shared=True, scale=0.01)
        self.value_hidden, self.value_norm = dense(h, "value_hidden"), norm("value_norm")
        self.value = dense(max(config.bins, 1), "value", scale=0.01)
        if config.advantage == "click_and_later":
            self.later = dense(1, "later", shared=True, scale=0.0)
            self.echo = dense(1, "echo", scale=0.0)
        else:
            if config.advantage == "reward_and_price":
                self.spend = dense(1, "spend", scale=0.01)
                self.price_hidden, self.price_norm = dense(h, "price_hidden"), norm("price_norm")
                self.price_set, self.price_set_norm = dense(h, "price_set"), norm("price_set_norm")
                self.price = dense(1, "price", scale=0.01)
            else:
                self.ahead = dense(max(config.bins, 1), "ahead", scale=0.01)
            # A weight, so that compiled code does not depend on it.
            start = keras.initializers.Constant(config.value_scale)
            self.value_scale = self.add_weight(
                name="value_scale", shape=(), initializer=start, trainable=False
            )
        self.click = dense(1, "click", scale=0.01)
        if config.advantage.startswith("reward"):
            self.reward = dense(1, "reward", scale=0.01)
        self.dropout_seed = keras.random.SeedGenerator(config.seed)
        self.noise_seed = keras.random.SeedGenerator(config.seed + 1)

    def build(self, input_shape: Any = None) -> None:
        """Every layer's weights, by one empty decision; without this Keras traces a graph to find them."""
        c = self.config
        blank = {
            "content": ops.zeros((1, 2, sum(c.widths))),
            "present": ops.zeros((1, 2, len(c.widths))),
            "record": ops.zeros((1, 2, c.record_width)),
            "context": ops.zeros((1, c.context_width)),
            "available": ops.ones((1, 2)),
        }
        self.call(blank)

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """See the class."""
        present, content = inputs["present"], inputs["content"]
        if training:
            present = present * self._keep(present)
            noise = keras.random.normal(ops.shape(content), seed=self.noise_seed)
            content = content + self.config.content_noise * noise
        available = ops.cast(inputs["available"], "float32")
        content = content * self._spread(present)
        hidden = self._fuse(content, present, inputs["record"])  # (M, B, K, H)
        audience = ops.relu(self.audience_norm(self.audience(inputs["context"])))  # (M, B, audience)
        priced = self.config.advantage == "reward_and_price"
        gamma, beta = ops.split(self.film(audience)[:, :, None, :], 2, axis=-1)
        hidden = hidden * (1.0 + gamma) + beta
        mean, peak = _pool(hidden, available)  # (M, B, H) each
        around = self.siblings(ops.concatenate([mean, peak], axis=-1))[:, :, None, :]
        scored = ops.relu(self.set_norm(self.own(hidden) + around))
        seen = ops.concatenate([audience, mean], axis=-1)
        if priced:  # what is learned of all that is to come must not blur what is known about now
            seen = ops.stop_gradient(seen)
        summary = ops.relu(self.value_norm(self.value_hidden(seen)))
        match = self._match(content, inputs["context"], inputs["record"])
        click_logit = self.click(scored)[..., 0] + match
        out = {"click_logit": click_logit}
        if self.config.bins:
            return out | self._binned(summary, scored, available)
        if self.config.advantage == "click_and_later":
            # The advantage is the click that the candidate earns now, learned from every single click, plus what it
            # changes about the visit later, learned by Q-learning. The value of the stories to come varies far more
            # than siblings differ; that noise must not blur what is known about the next click, so no gradient of Q
            # reaches it.
            now = ops.sigmoid(click_logit + self.base_logit) / self.config.base_rate
            # Few numbers decide what is learned from so much noise: a weight for each direction of content, and one
            # for how far a match with this audience also keeps people reading.
            later = (self.later(content) + self.echo(ops.stop_gradient(match)[..., None]))[..., 0]
            advantage = ops.stop_gradient(now) + later
        elif self.config.advantage.startswith("reward"):
            out["reward"] = self.reward(scored)[..., 0]
            if priced:
                out["spend"] = ops.exp(ops.clip(self.spend(scored)[..., 0] + match, -8.0, 4.0))
                out["worth"] = out["reward"] + 1.0
                out["reward"] = out["spend"] * out["worth"]
            known = ops.stop_gradient(out["reward"])
            if priced:
                spend, worth = ops.stop_gradient(out["spend"]), ops.stop_gradient(out["worth"])
                out["price"] = self._price(content, inputs, worth, spend)
                advantage = known - spend * ops.relu(ops.stop_gradient(out["price"]))
            else:
                if self.config.advantage == "reward_and_linear":
                    scored = _products(known[..., None], inputs["record"][None])
                advantage = known + self._ahead(scored)
        else:
            advantage = self._ahead(scored)
        value = self.value(summary)
        if self.config.advantage != "click_and_later":
            value = value * self.value_scale
        return out | {"q": dueling(value, advantage, available)}

    def _ahead(self, scored: Any) -> Any:
        """What a choice changes is less than everything to come; its head is scaled by the root of that."""
        return self.ahead(scored)[..., 0] * ops.sqrt(self.value_scale)

    def _price(self, content: Any, inputs: dict[str, Any], known: Any, spend: Any) -> Any:
        """The price of each candidate's stock, (M, B, K), from layers of its own.

        It also reads candidates that are not available, since a price is learned from those that have sold out too;
        so a decision must not be padded.
        """
        record, context = inputs["record"], inputs["context"][:, None, :]
        context = ops.broadcast_to(context, (*ops.shape(record)[:2], ops.shape(context)[-1]))
        told = ops.concatenate([content, record, context], axis=-1)[None]
        told = ops.broadcast_to(told, (self.config.members, *ops.shape(told)[1:]))
        told = ops.concatenate([told, known[..., None], spend[..., None]], axis=-1)
        own = ops.relu(self.price_norm(self.price_hidden(told)))
        around = ops.broadcast_to(ops.mean(own, axis=2, keepdims=True), ops.shape(own))
        both = ops.concatenate([own, around], axis=-1)
        return self.price(ops.relu(self.price_set_norm(self.price_set(both))))[..., 0]

    def _binned(self, summary: Any, scored: Any, available: Any) -> dict[str, Any]:
        """Q as a distribution over bins: dueling logits of each bin, and the mean of their softmax."""
        c = self.config
        value, advantage = self.value(summary)[..., None], ops.swapaxes(self.ahead(scored), -1, -2)
        logits = ops.swapaxes(dueling(value, advantage, available[:, None, :]), -1, -2)  # (M, B, K, Z)
        width = (c.bin_high - c.bin_low) / c.bins
        centres = ops.convert_to_tensor([c.bin_low + (i + 0.5) * width for i in range(c.bins)], "float32")
        return {"q": ops.sum(ops.softmax(logits, axis=-1) * centres, axis=-1), "q_logits": logits}

    def _match(self, content: Any, context: Any, record: Any) -> Any:
        """The wide path, (M, B, K): content weighed by what this audience likes, linear in both, plus the record.

        How far content is trusted, and how far the record, is learned from the size of the record: a prior fades
        as counts come in (Cheng et al. 2016, "Wide & Deep", with a gate).
        """
        taste = ops.einsum("bkp,mbp->mbk", content, self.taste(context))
        trust = 2.0 * ops.sigmoid(self.trust(record[..., 1:]))  # (M, B, K, 2)
        return taste * trust[..., 0] + record[None, ..., 0] * trust[..., 1]

    def _spread(self, present: Any) -> Any:
        """Presence (B, K, E) repeated over each encoder's columns, (B, K, P)."""
        return ops.concatenate(
            [
                ops.repeat(present[:, :, i : i + 1], width, axis=-1)
                for i, width in enumerate(self.config.widths)
            ],
            axis=-1,
        )

    def _fuse(self, content: Any, present: Any, record: Any) -> Any:
        """Project each encoder, hide what is absent, join with the record: (M, B, K, H)."""
        parts, start = [], 0
        for i, width in enumerate(self.config.widths):
            mask = present[None, :, :, i : i + 1]
            parts.append(self.project_norm[i](self.project[i](content[:, :, start : start + width])) * mask)
            start += width
        extra = ops.concatenate([present, record], axis=-1)[None]
        parts.append(ops.broadcast_to(extra, (self.config.members, *ops.shape(extra)[1:])))
        return ops.relu(self.fuse_norm(self.fuse(ops.concatenate(parts, axis=-1))))

    def _keep(self, present: Any) -> Any:
        """Hide whole modalities for all siblings of a decision at once, as a catalogue without them would."""
        shape = (ops.shape(present)[0], 1, present.shape[-1])
        draw = keras.random.uniform(shape, seed=self.dropout_seed)
        return ops.cast(draw >= self.config.modality_dropout, "float32")


def _products(reward: Any, record: Any) -> Any:
    """(M, B, K, 1), (1, B, K, R) -> (M, B, K, 2 R + 1): the record, the reward, and the reward times the record."""
    both = reward * record
    return ops.concatenate([ops.broadcast_to(record, ops.shape(both)), both, reward], axis=-1)


def _pool(hidden: Any, available: Any) -> tuple[Any, Any]:
    """Mean and maximum over the available candidates: (M, B, K, H), (B, K) -> two of (M, B, H)."""
    mask = available[None, :, :, None]
    count = ops.maximum(ops.sum(mask, axis=2), 1.0)
    mean = ops.sum(hidden * mask, axis=2) / count
    peak = ops.max(ops.where(mask > 0, hidden, -1e9), axis=2)
    return mean, ops.maximum(peak, -1e3)
