"""The update of dueling double Q-learning, the same for every network, traced into the TensorFlow graph.

Shape letters: ``B`` transitions of a batch, ``K`` candidates or actions, ``M`` ensemble members (an axis that may be
absent). What a network returns is ``q`` of shape (B, K) or (M, B, K), alone or as ``{"q": q, ...}``.

The batch can be dealt into shards. Their gradients do not depend on one another, so TensorFlow computes as many at a
time as it has inter-op threads, and their sum is the gradient of the whole batch but for float rounding. On few
processors that beats splitting each product over the threads: threads wait for each other once an update instead of
once a product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from multimodal_dql.errors import UsageError
from multimodal_dql.learning.optimizer import Adam, as_variables, follow, gradients_of
from multimodal_dql.learning.targets import double_q

if TYPE_CHECKING:
    from multimodal_dql.learning.losses import Bins

__all__ = [
    "METRICS",
    "Transitions",
    "UpdateConfig",
    "Updated",
    "Updater",
    "chosen",
    "pointwise_loss",
]

METRICS = ("loss", "td_error", "gradient_norm", "q_largest")
"""What an update reports: mean loss, mean squared TD error, gradient norm before clipping, largest ``|Q|``."""


@dataclass(frozen=True)
class UpdateConfig:
    """Settings of one update; saved beside the weights.

    Attributes:
        learning_rate: a of Adam (Kingma & Ba 2015, algorithm 1, in the order of section 2's last paragraph):
            ``w -= a sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + e)``.
        decay_updates: updates over which the rate falls to a tenth along half a cosine (Loshchilov & Hutter 2017,
            "SGDR", eq. 5); 0 keeps it constant.
        beta1: b1, ``m = b1 m + (1 - b1) g``.
        beta2: b2, ``v = b2 v + (1 - b2) g^2``.
        epsilon: e.
        weight_decay: l of ``w -= a l w`` before Adam's step (Loshchilov & Hutter 2019, "AdamW", algorithm 2).
        clip_norm: c of ``g *= min(1, c / |g|)``, |g| over all parameters (Pascanu et al. 2013, algorithm 1).
        loss: ``squared``, ``d^2``; or ``huber``, ``d^2 / 2`` up to |d| = 1 and ``|d| - 1/2`` beyond (Mnih et al. 2015
            clip d in the gradient, which is the same). Or ``hl_gauss``, ``-sum_i p_i log softmax(logits)_i`` with p
            the target as a Gaussian over `bins` (Farebrother et al. 2024, "Stop regressing"); the network then
            returns ``q_logits`` (..., B, K, Z) beside ``q``, the mean of their softmax.
        bins: of ``hl_gauss``.
        cql: alpha of ``alpha (log sum_a exp Q(s, a) - Q(s, a_t))``, added to the loss for learning from a log (Kumar et
            al. 2020, "Conservative Q-learning", eq. 4): it presses down what the log did not do. 0 leaves it out.
        target: ``polyak``, ``w' += rate (w - w')`` after each update (Lillicrap et al. 2016, algorithm 1); or
            ``periodic``, ``w' = w`` after every `target_period` updates (Mnih et al. 2015, algorithm 1).
        target_rate: of ``polyak``.
        target_period: of ``periodic``, updates.
        shards: parts of a batch that are computed side by side; 1, or the number of inter-op threads.
    """

    learning_rate: float = 1e-3
    decay_updates: int = 0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 10.0
    loss: Literal["squared", "huber", "hl_gauss"] = "squared"
    bins: Bins | None = None
    cql: float = 0.0
    target: Literal["polyak", "periodic"] = "polyak"
    target_rate: float = 0.005
    target_period: int = 1000
    shards: int = 1

    def __post_init__(self) -> None:
        losses = ("squared", "huber", "hl_gauss")
        for name, allowed in (("loss", losses), ("target", ("polyak", "periodic"))):
            if getattr(self, name) not in allowed:
                raise UsageError(
                    detail=f"update {name}='{getattr(self, name)}': choose {' or '.join(allowed)}",
                    detail_zh=f"更新参数 {name}='{getattr(self, name)}'：请选择 {' 或 '.join(allowed)}",
                )
        if (self.loss == "hl_gauss") != (self.bins is not None):
            raise UsageError(
                detail="update loss='hl_gauss' and bins belong together; give both or neither",
                detail_zh="更新参数 loss='hl_gauss' 与 bins 须同时给出或都不给",
            )
        if not self.cql >= 0:
            raise UsageError(
                detail=f"update cql={self.cql}: give 0 or more",
                detail_zh=f"更新参数 cql={self.cql}：请给出不小于 0 的数",
            )
        positive = ("learning_rate", "clip_norm", "target_rate", "target_period", "shards", "epsilon")
        for name in (n for n in positive if not getattr(self, n) > 0):
            raise UsageError(
                detail=f"update {name}={getattr(self, name)}: give a number above 0",
                detail_zh=f"更新参数 {name}={getattr(self, name)}：请给出大于 0 的数",
            )


class Transitions(NamedTuple):
    """What an update learns from.

    Attributes:
        observation: what a network takes, any structure of tensors with first axis B.
        action: (B,) int32, the index that was chosen.
        reward: (B,) float32, summed over n steps.
        factor: (B,) float32, the discount to the power n, and 0 where the session ended.
        next_observation: like `observation`, n steps later.
        next_available: (B, K) bool, or None when all K can be chosen.
        weight: (B,) or (M, B) float32 on the loss, or None for ones.
        available: (B, K) bool, what could be chosen, for `UpdateConfig.cql`; None when all K could.
        label: what an auxiliary loss learns from, any structure of tensors with first axis B, or None.
    """

    observation: Any
    action: Any
    reward: Any
    factor: Any
    next_observation: Any
    next_available: Any = None
    weight: Any = None
    available: Any = None
    label: Any = None


class Updated(NamedTuple):
    """What an update found: `metrics` (4,) in the order of `METRICS`, `error` (B,) or (M, B), the TD error."""

    metrics: Any
    error: Any


class _Shard(NamedTuple):
    """The part of a batch: gradients, loss and squared error (sums over B, divided by the whole B), largest, error."""

    gradients: list[Any]
    loss: Any
    square: Any
    largest: Any
    error: Any


def pointwise_loss(error: Any, kind: str) -> tuple[Any, Any]:
    """The loss of each error (see `UpdateConfig.loss`) and its derivative, both of the shape of `error`."""
    import tensorflow as tf

    if kind == "huber":
        slope = tf.clip_by_value(error, -1.0, 1.0)
        return slope * (error - 0.5 * slope), slope
    return tf.square(error), 2.0 * error


class Updater:
    """Online and target network, optimiser and the update itself; call `update` inside a ``tf.function``.

    A network is a callable with ``trainable_variables``: a Keras model, or a `DuelingMLP`, which brings its gradient
    written out (``products``, ``forward``, ``backward``); others are differentiated by TensorFlow.

    Args:
        online: the network that learns.
        target: one of the same shape; takes over the weights of `online` here.
        config: settings.
        observe: turns the rows of a replay into `Transitions` (for instance by gathering embeddings); runs once a
            shard. None when the rows are `Transitions` already.
        auxiliary: ``(what the online network returned, transitions) -> (B,) or (M, B)``, added to the loss of the TD
            error; None for nothing.
        training: call the online network with ``training=True`` where it learns (dropout); False leaves that out.
    """

    def __init__(
        self,
        online: Any,
        target: Any,
        config: UpdateConfig,
        *,
        observe: Callable[[Any], Transitions] | None = None,
        auxiliary: Callable[[Any, Transitions], Any] | None = None,
        training: bool = False,
    ) -> None:
        self.online, self.target, self.config = online, target, config
        self.observe, self.auxiliary, self.training = observe, auxiliary, training
        self.weights = as_variables(online.trainable_variables)
        self.slow = as_variables(target.trainable_variables)
        if not self.weights or [w.shape for w in self.weights] != [w.shape for w in self.slow]:
            raise UsageError(
                detail="the target network has other weights than the online one; build both from one configuration, "
                "and call each once before learning",
                detail_zh="目标网络与在线网络的权重形状不同；请用同一配置构建两者，并在学习前各调用一次",
            )
        self._copy()
        self.adam = Adam(self.weights, config)
        plain = auxiliary is None and config.loss != "hl_gauss" and not config.cql
        self.written_out = hasattr(online, "backward") and plain

    def update(self, rows: Any) -> Updated:
        """Take one step on a batch; to be traced. `rows` is any structure of tensors with first axis B."""
        import tensorflow as tf

        leaves = [leaf for leaf in tf.nest.flatten(rows) if leaf is not None]
        batch, shards = leaves[0].shape[0], self.config.shards
        if batch is None or batch % shards:
            raise UsageError(
                detail=f"a batch of {batch} cannot be dealt into {shards} shards; make it a multiple of {shards}",
                detail_zh=f"大小为 {batch} 的批次无法分成 {shards} 份；请取 {shards} 的倍数",
            )
        part = batch // shards
        shared = (self.online.products(), self.target.products()) if self.written_out else None
        found = [self._shard(_cut(rows, i * part, (i + 1) * part), batch, shared) for i in range(shards)]
        sums = [_sum([s.gradients[i] for s in found]) for i in range(len(self.weights))]
        gradients = self.online.gather_up(sums) if self.written_out else sums
        norm = self.adam.step(gradients)
        self._move_target()
        metrics = [_sum([s.loss for s in found]), _sum([s.square for s in found]), norm]
        largest = tf.reduce_max(tf.stack([s.largest for s in found]))
        return Updated(tf.stack([*metrics, largest]), tf.concat([s.error for s in found], axis=-1))

    def _shard(self, rows: Any, batch: int, shared: Any) -> _Shard:
        part = self.observe(rows) if self.observe is not None else rows
        return self._explicit(part, batch, *shared) if shared else self._taped(part, batch)

    def _taped(self, b: Transitions, batch: int) -> _Shard:
        """By automatic differentiation."""
        import tensorflow as tf

        y = self._target_of(b, _q(self.online(b.next_observation)), _q(self.target(b.next_observation)))
        mode = {"training": True} if self.training else {}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.weights)
            out = self.online(b.observation, **mode)
            error = chosen(_q(out), b.action) - y
            loss = self._loss(out, b, y, error)
            if self.auxiliary is not None:
                loss = loss + self.auxiliary(out, b)
            # Summed over members, so that each learns as if it were alone.
            total = tf.reduce_sum(loss if b.weight is None else loss * b.weight) / batch
        return self._found(gradients_of(tape, total, self.weights), total, error, _q(out), batch)

    def _loss(self, out: Any, b: Transitions, y: Any, error: Any) -> Any:
        """Of each transition, (B,) or (M, B); see `UpdateConfig`."""
        import tensorflow as tf

        from multimodal_dql.learning.losses import bin_cross_entropy, cql_penalty, hl_gauss

        c, q = self.config, _q(out)
        if c.bins is not None:
            at = tf.one_hot(b.action, q.shape[-1])[..., None]
            loss = bin_cross_entropy(tf.reduce_sum(out["q_logits"] * at, axis=-2), hl_gauss(y, c.bins))
        else:
            loss = pointwise_loss(error, c.loss)[0]
        if not c.cql:
            return loss
        action = tf.broadcast_to(b.action, tf.shape(q)[:-1])
        free = tf.ones_like(q, tf.bool) if b.available is None else b.available
        return loss + c.cql * cql_penalty(q, action, free)

    def _explicit(self, b: Transitions, batch: int, online: Any, target: Any) -> _Shard:
        """By the gradient that the network brings."""
        import tensorflow as tf

        layers, q = self.online.forward(online, b.observation)
        ahead = self.online.forward(online, b.next_observation)[1]
        y = self._target_of(b, ahead, self.target.forward(target, b.next_observation)[1])
        error = chosen(q, b.action) - y
        loss, slope = pointwise_loss(error, self.config.loss)
        if b.weight is not None:
            loss, slope = loss * b.weight, slope * b.weight
        at = tf.one_hot(b.action, q.shape[-1]) * (slope / batch)[:, None]
        gradients = self.online.backward(online, layers, at)
        return self._found(gradients, tf.reduce_sum(loss) / batch, error, q, batch)

    def _target_of(self, b: Transitions, q_online: Any, q_target: Any) -> Any:
        import tensorflow as tf

        y = double_q(b.reward, b.factor, q_online, q_target, b.next_available)
        return tf.stop_gradient(y)

    def _found(self, gradients: list[Any], loss: Any, error: Any, q: Any, batch: int) -> _Shard:
        import tensorflow as tf

        members = error.shape[0] if len(error.shape) > 1 else 1
        square = tf.reduce_sum(tf.square(error)) / (batch * members)
        return _Shard(gradients, loss / members, square, tf.reduce_max(tf.abs(q)), error)

    def _move_target(self) -> None:
        """See `UpdateConfig.target`."""
        import tensorflow as tf

        c = self.config
        if c.target == "polyak":
            follow(self.slow, self.weights, c.target_rate)
            return
        due = tf.equal(self.adam.count % c.target_period, 0)
        tf.cond(due, self._copy, lambda: None)

    def _copy(self) -> None:
        for slow, fast in zip(self.slow, self.weights, strict=True):
            slow.assign(fast)

    @property
    def state(self) -> dict[str, Any]:
        """Every variable that learning changes, by name: what a checkpoint must hold to go on bit for bit."""
        named = {f"online_{i}": w for i, w in enumerate(self.weights)}
        return named | {f"target_{i}": w for i, w in enumerate(self.slow)} | self.adam.state


def _q(out: Any) -> Any:
    return out["q"] if isinstance(out, dict) else out


def chosen(q: Any, action: Any) -> Any:
    """``q[..., b, action[b]]``, (..., B)."""
    import tensorflow as tf

    return tf.reduce_sum(q * tf.one_hot(action, q.shape[-1], dtype=q.dtype), axis=-1)


def _sum(parts: Sequence[Any]) -> Any:
    import tensorflow as tf

    return tf.add_n(list(parts)) if len(parts) > 1 else parts[0]


def _cut(rows: Any, start: int, stop: int) -> Any:
    """Rows `start` to `stop` of every tensor of a structure; B is the last axis of the weight of `Transitions`."""
    import tensorflow as tf

    part = tf.nest.map_structure(lambda x: None if x is None else x[start:stop], rows)
    if isinstance(rows, Transitions) and rows.weight is not None:
        return part._replace(weight=rows.weight[..., start:stop])
    return part
