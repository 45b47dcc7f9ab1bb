"""How a contestant of a speed contest talks: it says that it is ready, then does as much as it is asked, one line each.

Standard library only: the peers run in an environment that does not hold this package.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

__all__ = ["keep_to", "serve"]


def serve(run: Callable[[int], object], **facts: object) -> None:
    """Answer requests on stdin until it ends.

    Args:
        run: does that many units of work, and returns when they are done; a dictionary is sent back.
        facts: sent with the first line.
    """
    _say({"ready": True} | facts)
    for line in sys.stdin:
        amount = int(line)
        own, start = time.process_time(), time.perf_counter()
        result = run(amount)
        seconds = time.perf_counter() - start
        done = {"amount": amount, "seconds": seconds, "cpu_seconds": time.process_time() - own}
        _say(done | ({"result": result} if isinstance(result, dict) else {}))


def keep_to(threads: int) -> None:
    """Stay on the first `threads` processors where the system can do that: not every library takes a number."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        if 1 < threads < len(allowed):
            os.sched_setaffinity(0, allowed[:threads])


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
