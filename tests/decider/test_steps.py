"""What a decision does between its matrix products, in NumPy and compiled."""

from __future__ import annotations

import numpy as np


def test_the_first_of_equals_wins() -> None:
    from multimodal_dql.decider_compiled import COMPILED
    from multimodal_dql.decider_steps import NUMPY

    for steps in (NUMPY, COMPILED):
        scores = np.array([[9, 9], [1, 2], [1, 0], [0, 2]], np.float32)
        available = np.array([False, True, True, True])
        np.testing.assert_allclose(steps.vote(scores, available, 0.3), [0.0, 0.8, 0.1, 0.1])
