"""One thread: the matrices are small, and a second thread that waits for them costs more than it brings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    import scipy.linalg  # noqa: F401 - its own BLAS has to be there to be limited

    with threadpool_limits(limits=1):
        yield
