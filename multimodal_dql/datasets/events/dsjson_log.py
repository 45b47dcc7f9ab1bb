"""Vowpal Wabbit's DSJSON (decision service JSON, as Azure Personalizer wrote it) as a log of decisions.

One JSON object a line: ``EventId``, ``Timestamp``, ``a`` (actions from 1, best first), ``p`` (probabilities), ``c``
(shared features, and those of each action in ``_multi``), ``_label_Action`` (from 1), ``_label_probability`` and
``_label_cost``. Format: https://github.com/VowpalWabbit/vowpal_wabbit/wiki/DSJSON-and-JSON-format.

The reward is minus the cost and is kept as ``conversion_value``; ``click`` is 1 where the reward is above 0. Shared
features become the context, nested names joined by points. An action is called by its ``_tag``, or by its number where
not all have one of their own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from multimodal_dql.datasets.events.checks import BAD_LINE
from multimodal_dql.datasets.events.files import json_lines
from multimodal_dql.datasets.events.importing import Part, part_of_rows
from multimodal_dql.datasets.events.schema import Note

__all__ = ["DsjsonImporter"]

LINES = 8192
ROUNDING = 1e-3
"""Probabilities are written as 32-bit floats, and cut."""

DANGLING = "an observation without its decision"
SKIPPED = "a decision that was not activated (_skipLearn)"
SLOTS = "a decision of several slots, or a continuous one"
NO_LABEL = "a decision without its label (_label_Action, _label_cost, _label_probability)"
NO_ACTIONS = "no actions (c._multi)"
OUTSIDE = "_label_Action is not one of the actions"
UNLIKE = "_label_probability is not that of the action in p"
SUM = "the probabilities do not sum to 1"


class DsjsonImporter:
    """See the module.

    Args:
        item_id: the story that all decisions are about; the format has none.
    """

    reasons_zh: ClassVar[dict[str, str]] = {
        DANGLING: "没有对应决策的观测",
        SKIPPED: "未激活的决策（_skipLearn）",
        SLOTS: "多位置或连续动作的决策",
        NO_LABEL: "决策缺少标签（_label_Action、_label_cost、_label_probability）",
        NO_ACTIONS: "没有动作（c._multi）",
        OUTSIDE: "_label_Action 不在动作之中",
        UNLIKE: "_label_probability 与 p 中该动作的概率不符",
        SUM: "概率之和不为 1",
    }

    def __init__(self, item_id: str = "dsjson") -> None:
        self.item_id = item_id
        self._dropped = 0

    def notes(self) -> list[Note]:
        """What was noticed and left nothing out."""
        if not self._dropped:
            return []
        return [
            Note(
                f"{self._dropped:,} decisions are a sample (pdrop above 0) and stand for more; nothing is weighted",
                f"{self._dropped:,} 个决策是抽样（pdrop 大于 0），各代表多个决策；日志不加权",
            )
        ]

    def parts(self, path: Path) -> Iterator[Part]:
        """The decisions of a file, packed or not, and what each other line was."""
        rows: list[dict[str, Any]] = []
        out: Counter[str] = Counter()
        for _, line in json_lines(path):
            found = BAD_LINE if line is None else self._row(line)
            if isinstance(found, str):
                out[found] += 1
            else:
                rows.append(found)
            if len(rows) + out.total() >= LINES:
                yield part_of_rows(rows, dict(out))
                rows, out = [], Counter()
        if rows or out:
            yield part_of_rows(rows, dict(out))

    def _row(self, line: Mapping[str, Any]) -> dict[str, Any] | str:
        """A row of our schema, or why there is none."""
        c = line.get("c")
        if not isinstance(c, Mapping):
            return DANGLING
        if "_outcomes" in line or "_slots" in c or "_label_ca" in line:
            return SLOTS
        if line.get("_skipLearn") is True:
            return SKIPPED
        multi = c.get("_multi")
        if not isinstance(multi, list) or not multi:
            return NO_ACTIONS
        label = tuple(line.get(name) for name in ("_label_Action", "_label_cost", "_label_probability"))
        if any(not isinstance(part, int | float) or isinstance(part, bool) for part in label):
            return NO_LABEL
        return self._labelled(line, c, multi, *label)

    def _labelled(
        self,
        line: Mapping[str, Any],
        c: Mapping[str, Any],
        multi: list[Any],
        action: Any,
        cost: Any,
        probability: Any,
    ) -> dict[str, Any] | str:
        if action != int(action if math.isfinite(action) else 0) or not 1 <= action <= len(multi):
            return OUTSIDE
        if wrong := _contradiction(line, int(action), float(probability), len(multi)):
            return wrong
        pdrop = line.get("pdrop", 0)
        self._dropped += isinstance(pdrop, int | float) and pdrop > 0
        names = _names(multi)
        reward = 0.0 - cost  # not -cost: nobody wants to read -0
        state = line.get("VWState")
        return {
            "event_id": line.get("EventId"),
            "time": _cut(line.get("Timestamp")),
            "item_id": self.item_id,
            "context": dict(_flat({key: value for key, value in c.items() if key != "_multi"})),
            "candidates": names,
            "action": names[int(action) - 1],
            "probability": probability,
            "click": 1 if reward > 0 else 0,
            "conversion_value": reward,
            "policy": "vw",
            "model_version": state.get("m") if isinstance(state, Mapping) else None,
        }


def _contradiction(line: Mapping[str, Any], action: int, probability: float, actions: int) -> str | None:
    """Where ``a`` and ``p`` say something else than the label."""
    a, p = line.get("a"), line.get("p")
    if not isinstance(p, list) or not all(isinstance(x, int | float) for x in p):
        return None
    a = a if isinstance(a, list) else list(range(1, actions + 1))
    if len(a) != len(p) or action not in a:
        return OUTSIDE
    if abs(math.fsum(p) - 1.0) > ROUNDING * max(len(p), 1) ** 0.5:
        return SUM
    # A probability that is none at all is counted by what is wrong with it, as in any log.
    if 0 < probability <= 1 and abs(p[a.index(action)] - probability) > ROUNDING:
        return UNLIKE
    return None


def _names(multi: list[Any]) -> list[str]:
    """A name for each action."""
    tags = [part.get("_tag") if isinstance(part, Mapping) else None for part in multi]
    if all(isinstance(tag, str) and tag for tag in tags) and len(set(tags)) == len(tags):
        return [str(tag) for tag in tags]
    return [str(i) for i in range(1, len(multi) + 1)]


def _cut(time: Any) -> Any:
    """Seven digits after the point, as .NET writes them, are one too many."""
    if isinstance(time, str) and "." in time:
        head, rest = time.split(".", 1)
        digits = len(rest) - len(rest.lstrip("0123456789"))
        return f"{head}.{rest[: min(digits, 6)]}{rest[digits:]}"
    return time


def _flat(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Names joined by points, and the values that are no objects; lists by number."""
    parts = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    )
    if parts is None or depth > 16:
        if value is not None and not isinstance(value, Mapping | list):
            yield name, value
        return
    for key, part in parts:
        yield from _flat(part, f"{name}.{key}" if name else str(key), depth + 1)
