"""One arm of a simulated experiment: a policy, what it is shown, and how its sessions are run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from multimodal_dql.candidates import Candidates
from multimodal_dql.policies.base import Policy, check_probabilities
from multimodal_dql.simulation.audience import CONTEXT
from multimodal_dql.simulation.ledger import Ledger
from multimodal_dql.simulation.sessions import Sessions, Stage, Steps, joined, run_sessions, run_table
from multimodal_dql.state import State

__all__ = ["CHUNK", "Arm", "best_weight", "clairvoyant"]

Ints = NDArray[np.int64]

CHUNK = 1024
"""Sessions that one worker runs at a time; fixed, so that sums are formed alike on one worker and on eight."""

WEIGHTS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Worth of satisfaction, in click probability, among which the oracle takes the best."""

TUNING = 1 << 34
"""Added to the seed: the oracle is tuned on users that no arm meets."""


@dataclass(frozen=True)
class Arm:
    """A policy in an experiment.

    Attributes:
        name: in tables and results.
        policy: decides; None is clairvoyant, which knows the truth of every click.
        weight: of the clairvoyant policy: worth of satisfaction in click probability; 0 is greedy on clicks.
        seen: the candidates as the policy sees them, by default as they are.
        records: whether a policy that looks at content sees the counts of the running experiment as records, too.
    """

    name: str
    policy: Policy | None = None
    weight: float = 0.0
    seen: Candidates | None = None
    records: bool = False

    @property
    def adaptive(self) -> bool:
        """Whether the policy learns while the experiment runs."""
        return self.records or (self.policy is not None and self.policy.learns)

    def run(
        self, stage: Stage, seed: int, ids: Ints, ledger: Ledger, pool: Executor | None, *, log: bool = False
    ) -> Sessions:
        """Run some sessions; the policy learns from them afterwards, if it learns at all."""
        if not len(ids):
            return run_table(stage, seed, ids, None, log=log)
        chunks = [ids[at : at + CHUNK] for at in range(0, len(ids), CHUNK)]
        if self.policy is None or not self.policy.reads_context:
            table = None if self.policy is None else story_table(self.policy, stage, ledger, self.seen)
            work: Callable[[Ints], Sessions] = lambda part: run_table(  # noqa: E731
                stage, seed, part, table, weight=self.weight, log=log
            )
            out = joined(list((pool.map if pool else map)(work, chunks)))
            if self.policy is not None and self.policy.learns:
                self._learn_by_story(stage, ledger, out)
        else:
            policy = self.policy
            step: Callable[[Ints], Steps] = lambda part: run_sessions(  # noqa: E731
                stage, policy, seed=seed, ids=part, seen=self.seen, ledger=ledger
            )
            steps = list((pool.map if pool else map)(step, chunks))
            if policy.learns:
                for part in steps:
                    _learn(policy, stage, part, ledger, self.seen)
            out = joined([part.sessions for part in steps])
            if not log:
                out = replace(out, log=None)
        ledger.add(stage.world, out.by_variant)
        return out

    def _learn_by_story(self, stage: Stage, ledger: Ledger, out: Sessions) -> None:
        """Tell a policy that learns from counts alone that a batch is over; the counts include it."""
        after = ledger.copy()
        after.add(stage.world, out.by_variant)
        items = np.arange(len(stage.world.candidates.table))
        state = _story_state(stage, after, self.seen)
        none = np.zeros(len(items), dtype=np.int64)
        if self.policy is not None:
            self.policy.update(state, none, none.astype(np.float64))


def _story_state(stage: Stage, ledger: Ledger, seen: Candidates | None) -> State:
    """The state of one decision on every story, nothing known about the user."""
    items = np.arange(len(stage.world.candidates.table))
    context = np.zeros((len(items), CONTEXT.width), np.float32)
    state = (seen or stage.world.candidates).state(items, context, ledger.records(stage.world, items))
    return replace(state, counts=ledger.counts(items))


def story_table(
    policy: Policy, stage: Stage, ledger: Ledger, seen: Candidates | None = None
) -> NDArray[np.float64]:
    """Probabilities of every candidate of every story, (items, K), of a policy that does not look at the user.

    Raises:
        PolicyError: rows that do not sum to 1, or weight on a candidate that is not available.
    """
    state = _story_state(stage, ledger, seen)
    return check_probabilities(policy, state)


def _learn(policy: Policy, stage: Stage, steps: Steps, ledger: Ledger, seen: Candidates | None) -> None:
    """Give a policy the decisions of some sessions with their clicks, in the order of sessions and steps."""
    on = steps.active
    items = steps.item[on]
    state = (seen or stage.world.candidates).state(items, steps.context[on], steps.record[on])
    policy.update(replace(state, counts=ledger.counts(items)), steps.action[on], steps.click[on])


def clairvoyant(stage: Stage, seed: int, metric: Callable[[Sessions], float]) -> tuple[Arm, Arm]:
    """The two references that know the truth: the oracle, and greed on the next click.

    The oracle adds to the probability of a click the worth of what a variant does to satisfaction, and so to the rest
    of the visit and the visits to come; how much that is worth is tuned on users of its own. It is the best of a
    family of rules, not a proof that nothing better exists.
    """
    return Arm("oracle", weight=best_weight(stage, seed, metric)), Arm("myopic")


def best_weight(stage: Stage, seed: int, metric: Callable[[Sessions], float], sessions: int = 4096) -> float:
    """The weight of the clairvoyant policy that earns most."""
    ids = np.arange(sessions)
    earned = [metric(run_table(stage, seed + TUNING, ids, None, weight=w)) for w in WEIGHTS]
    return WEIGHTS[int(np.argmax(earned))]
