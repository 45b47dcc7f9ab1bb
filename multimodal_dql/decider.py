"""Decide without TensorFlow: a trained network and a Bayesian head in NumPy, one decision in microseconds.

    decider = Decider.load(Path("run"))
    action, probability = decider.decide(content, context, u=random.random())

It computes what `multimodal_dql.network.CandidateQNetwork` computes (`multimodal_dql.decider_weights` says how),
loads a run in a fraction of a second, and may be shared between threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.decider_candidates import Made, Prepared, candidates, misfit, wide_of
from multimodal_dql.decider_file import read_weights, weights_of
from multimodal_dql.decider_head import ThompsonHead, draw, fitting
from multimodal_dql.decider_scratch import Scratch, with_row
from multimodal_dql.decider_steps import NUMPY, Steps
from multimodal_dql.decider_weights import Sizes, Weights
from multimodal_dql.errors import UsageError

__all__ = ["Decider", "Prepared", "ThompsonHead"]

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

FLOOR = 0.01
"""Probability shared out evenly where a run has no head of its own."""
KEPT_SIZES = 32
"""Set sizes for which a thread keeps its buffers."""


class Decider:
    """A network and a head, ready to decide; the same numbers from any thread.

    `load` and `from_tensors` make one. `refresh` replaces the weights at once: a decision uses the old ones or the new.

    Args:
        weights: as folded by `multimodal_dql.decider_weights.fold`.
        head: None lets the members vote by their Q.
        compiled: compile what lies between the matrix products. About a quarter faster; takes numba, and half a second
            to load (some seconds the first time on a machine).
    """

    def __init__(self, weights: Weights, head: ThompsonHead | None = None, compiled: bool = False) -> None:
        self._state = (weights, fitting(head, weights.sizes))
        self._steps = _steps(compiled)
        self._local = threading.local()

    @classmethod
    def load(cls, folder: Path, *, head: ThompsonHead | None = None, compiled: bool = False) -> Decider:
        """Read a run directory. Raises `RunError` when it is missing, truncated, altered or from a newer version."""
        return cls(read_weights(folder), head, compiled)

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, NDArray[Any]],
        base_rate: float,
        *,
        head: ThompsonHead | None = None,
        compiled: bool = False,
    ) -> Decider:
        """Take a live network's weights.

        Args:
            tensors: arrays by path, ``{v.path: v.numpy() for v in network.weights}``; they are copied.
            base_rate: as in the network's configuration.
            head: see the class.
            compiled: see the class.

        Raises:
            UsageError: these are not the weights of a `CandidateQNetwork` that decides by clicks.
        """
        return cls(weights_of(tensors, base_rate), head, compiled)

    def refresh(
        self, tensors: Mapping[str, NDArray[Any]] | None = None, *, head: ThompsonHead | None = None
    ) -> None:
        """Take new weights, a new head, or both at once; what is not given stays.

        Raises `UsageError` where they do not fit the network, which then goes on with what it had.
        """
        weights, old = self._state
        if tensors is not None:
            weights = weights_of(tensors, weights.base_rate, weights.sizes)
        self._state = (weights, fitting(head or old, weights.sizes))

    @property
    def sizes(self) -> Sizes:
        """The shape of the network."""
        return self._state[0].sizes

    def prepare(
        self,
        content: NDArray[Any],
        present: NDArray[Any] | None = None,
        record: NDArray[Any] | None = None,
        available: NDArray[np.bool_] | None = None,
    ) -> Prepared:
        """Compute what no context changes of a set of candidates, once for any number of decisions.

        Args:
            content: (K, P).
            present: (K, E) of 0 and 1; None when every encoder saw every candidate.
            record: (K, R), as `multimodal_dql.state.record_features` gives; None when nothing is recorded.
            available: (K,); None when all are.

        Raises:
            UsageError: shapes that do not fit, or no candidate is available.
        """
        weights = self._state[0]
        prepared = candidates(content, present, record, available, weights.sizes)
        self._made(prepared, weights)
        return prepared

    def hidden(self, prepared: Prepared, context: NDArray[Any]) -> Float:
        """The network's last hidden layer, (K, H) with one member, (M, K, H) with several."""
        weights = self._state[0]
        scored = self._scored(self._made(prepared, weights), prepared, context).scored + weights.set_offset
        return scored[0] if weights.sizes.members == 1 else scored

    def q(self, prepared: Prepared, context: NDArray[Any]) -> Float:
        """Q of every member, (M, K), in units of the base rate as the network gives it; -inf where not available."""
        q = self._evaluate(prepared, context, self._state[0])[1]
        if prepared.missing:
            q[:, ~prepared.available] = -np.inf
        return q

    def click_rate(self, prepared: Prepared, context: NDArray[Any]) -> Float:
        """Expected clicks an impression by every member, (M, K); 0 where not available."""
        rate = self._evaluate(prepared, context, self._state[0])[0]
        if prepared.missing:
            rate[:, ~prepared.available] = 0.0
        return rate

    def decide(
        self,
        content: NDArray[Any] | Prepared,
        context: NDArray[Any],
        u: float,
        present: NDArray[Any] | None = None,
        record: NDArray[Any] | None = None,
        available: NDArray[np.bool_] | None = None,
        own: NDArray[Any] | None = None,
    ) -> tuple[int, float]:
        """Choose a candidate: its number and the probability with which it was chosen.

        Args:
            content: (K, P), or candidates from `prepare`, whose presence, record and availability then count.
            context: (C,).
            u: uniform in [0, 1); the same number gives the same choice.
            present: as for `prepare`; so are `record` and `available`.
            record: see there.
            available: see there.
            own: (K, S), the head's samples of the candidates' own effects; without a head it says nothing.

        Raises:
            UsageError: shapes that do not fit, or numbers that are NaN or infinite.
        """
        weights, head = self._state
        if isinstance(content, Prepared):
            prepared = content
        else:
            prepared = candidates(content, present, record, available, weights.sizes)
        p = self._probabilities(prepared, context, own, weights, head)
        return draw(p, u)

    def probabilities(
        self, prepared: Prepared, context: NDArray[Any], own: NDArray[Any] | None = None
    ) -> NDArray[np.float64]:
        """The probabilities from which `decide` draws, (K,)."""
        weights, head = self._state
        return self._probabilities(prepared, context, own, weights, head)

    def _probabilities(
        self,
        prepared: Prepared,
        context: NDArray[Any],
        own: NDArray[Any] | None,
        weights: Weights,
        head: ThompsonHead | None,
    ) -> NDArray[np.float64]:
        vote = self._steps.vote
        if head is None:
            q = self._evaluate(prepared, context, weights)[1]
            p: NDArray[np.float64] = vote(np.ascontiguousarray(q.T), prepared.available, FLOOR)
        else:
            # The offset that `scored` lacks is the same for all candidates and changes no vote.
            scratch = self._scored(self._made(prepared, weights), prepared, context)
            p = head.probabilities(
                prepared.content, scratch.ear, scratch.scored[0], prepared.available, own, vote
            )
        if not math.isfinite(p[0]):
            raise UsageError(
                detail="decide: content, context, record or weights hold NaN, infinity or huge numbers; mend them",
                detail_zh="decide：content、context、record 或权重中含有 NaN、无穷大或过大的数；请修正",
            )
        return p

    def _scratch(self, weights: Weights, k: int) -> Scratch:
        """Buffers for K candidates, of the thread that asks."""
        local = self._local
        if getattr(local, "of", None) is not weights:
            local.of, local.own, local.by_size = weights, with_row(weights), {}
        found: Scratch | None = local.by_size.get(k)
        if found is None:
            if len(local.by_size) >= KEPT_SIZES:
                local.by_size.clear()
            found = local.by_size[k] = Scratch(weights, k, self._steps.tile, local.own)
        return found

    def _made(self, p: Prepared, w: Weights) -> Made:
        """The part of the network that no context changes."""
        made = p.made
        if made is not None and made.of is w:
            return made
        sizes, steps = w.sizes, self._steps
        if p.sizes != sizes:
            raise UsageError(
                detail="decide: these candidates were prepared for a network of another shape; prepare them again",
                detail_zh="decide：这些候选是为另一种形状的网络准备的；请用此网络重新准备",
            )
        k = len(p.content)
        s = self._scratch(w, k)
        start = 0
        for i, width in enumerate(sizes.widths):
            s.blocks[i][...] = p.content[:, start : start + width]
            start += width
            np.matmul(s.inputs[i], w.project[i], out=s.scored)
            seen = s.ones if p.present is None else np.ascontiguousarray(p.present[:, i])
            steps.standardise(s.scored, seen, s.fused, i * sizes.hidden)
        s.seen[...] = 1.0 if p.present is None else p.present
        s.record[...] = s.no_record if p.record is None else p.record
        hidden = np.matmul(s.fused, w.fuse)
        steps.normalise(hidden, s.fuse_gain, s.fuse_floor)
        pools = np.empty((sizes.members, 3, sizes.hidden), np.float32)
        steps.pool(hidden, p.available, p.share, pools)
        p.made = made = Made(w, hidden, pools)
        return made

    def _scored(self, made: Made, p: Prepared, context: NDArray[Any]) -> Scratch:
        """The last hidden layer without its offset, in ``scored`` of the thread's buffers."""
        w, steps = made.of, self._steps
        s, product = self._scratch(w, len(p.content)), _product(w)
        context = np.asarray(context)
        if context.shape != s.ear.shape:
            raise misfit("context", context.shape, "(C,)", s.ear.shape)
        s.ear[:] = context
        product(s.context, s.hear, s.heard)
        steps.normalise(s.heard_rows, w.hear_gain, w.hear_floor)
        product(s.from_audience, s.film, s.scale)
        steps.modulate(made.hidden, s.scale_rows, made.pools, s.rows, s.pooled)
        product(s.from_peak, s.around, s.own_last)
        np.matmul(s.rows, s.own, out=s.scored)
        steps.normalise(s.scored, s.set_gain, s.set_floor)
        return s

    def _evaluate(self, p: Prepared, context: NDArray[Any], w: Weights) -> tuple[Float, Float]:
        """Click rate and Q, (M, K) each."""
        # Once: another thread may put what it made under other weights into `p`, and making it again uses the buffers.
        made = self._made(p, w)
        s, product = self._scored(made, p, context), _product(w)
        wide = made.wide
        if wide is None:
            wide = made.wide = wide_of(p, w)
        product(s.from_mean, s.value_hidden, s.value)
        self._steps.normalise(s.value_rows, w.value_gain, w.value_floor)
        product(s.context, s.taste, s.tastes)
        return self._steps.finish(s.value_rows, w.heads, s.scored, s.tastes_rows, p.content, wide, w.last)


def _product(w: Weights) -> Any:
    """(row, kernel, out): with one member plain vectors, whose product costs half the overhead."""
    return np.ndarray.dot if w.sizes.members == 1 else np.matmul


def _steps(compiled: bool) -> Steps:
    if not compiled:
        return NUMPY
    from multimodal_dql.decider_compiled import COMPILED

    return COMPILED
