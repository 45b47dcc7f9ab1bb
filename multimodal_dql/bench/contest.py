"""Speed contests: several processes, one at work at a time, in turns, so that whatever happens to the machine
happens to all of them. A turn during which others used the processors does not count.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from multimodal_dql.errors import MultimodalDQLError

__all__ = ["Contest", "ContestError", "Contestant", "Turn", "hold"]

FOREIGN = 0.12
"""Processors that others may keep busy during a turn that counts."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class ContestError(MultimodalDQLError):
    """A contestant that died. Fields: name, said (its last lines)."""

    en = "the bench process '{name}' stopped: {said}"
    zh = "测速进程 “{name}” 已停止：{said}"


@dataclass(frozen=True)
class Turn:
    """One piece of work: units a second, processors used, processors that others used meanwhile (None: not known)."""

    rate: float
    used: float
    foreign: float | None


@dataclass
class Contestant:
    """A process that works on request (see `peers.serving`)."""

    name: str
    process: subprocess.Popen[str]
    errors: IO[str]
    facts: dict[str, Any] = field(default_factory=dict)

    def turn(self, amount: int) -> Turn:
        """Let it work; raises `ContestError`."""
        busy = _busy_seconds()
        done = self.ask(amount)
        after = _busy_seconds()
        seconds = max(done["seconds"], 1e-9)
        foreign = (
            None if busy is None or after is None else max(0.0, after - busy - done["cpu_seconds"]) / seconds
        )
        return Turn(done["amount"] / seconds, done["cpu_seconds"] / seconds, foreign)

    def ask(self, amount: int) -> dict[str, Any]:
        """Its answer to a request; raises `ContestError`."""
        stdin = cast("IO[str]", self.process.stdin)
        with contextlib.suppress(BrokenPipeError):
            stdin.write(f"{amount}\n")
            stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        """Its next message; other lines that it prints are passed over."""
        for line in cast("IO[str]", self.process.stdout):
            if line.startswith("{"):
                return cast("dict[str, Any]", json.loads(line))
        self.errors.seek(0)
        raise ContestError(
            name=self.name, said=" / ".join(self.errors.read().strip().splitlines()[-3:]) or "-"
        )


@contextlib.contextmanager
def hold(commands: Mapping[str, Sequence[str]], threads: int, folder: Path) -> Iterator[list[Contestant]]:
    """Start every process and wait until all are ready; they end with the block.

    Args:
        commands: name -> command line.
        threads: told to every library by its variable.
        folder: for what they write to stderr.

    Raises:
        ContestError: one does not start.
    """
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    if threads == 1:
        environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    with contextlib.ExitStack() as stack:
        held = []
        for name, command in commands.items():
            errors = stack.enter_context((folder / f"{name}.txt").open("w+", encoding="utf-8"))
            process = subprocess.Popen(  # noqa: S603
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )
            stack.callback(_end, process)
            held.append(Contestant(name, process, errors))
            held[-1].facts = held[
                -1
            ].hear()  # one after the other: they compile, and memory is short of four at once
        yield held


@dataclass
class Contest:
    """Rounds of turns, one turn a contestant in each.

    Attributes:
        contestants: in the order in which they take turns.
        seconds: of a turn.
        rounds: wanted, in which every turn was quiet.
        patience: seconds after which the quietest rounds must do.
    """

    contestants: Sequence[Contestant]
    seconds: float = 1.0
    rounds: int = 5
    patience: float = 180.0

    def run(self) -> dict[str, Any]:
        """Medians over the counted rounds, and the ratio of each pair within a round.

        Returns:
            ``rates`` name -> units a second; ``span`` name -> (lowest, highest); ``processors`` name -> used;
            ``per_processor`` name -> units a second of processor time, waiting threads that spin included;
            ``ratios`` (a, b) -> median over rounds of rate a / rate b; ``rounds``, ``quiet_rounds`` and
            ``foreign``, the processors that others used in the worst counted turn.
        """
        start, done = time.perf_counter(), list[dict[str, Turn]]()
        _wait_for_quiet(start + self.patience)
        sizes = {c.name: self._size(c) for c in self.contestants}
        while sum(map(_quiet, done)) < self.rounds:
            _wait_for_quiet(start + self.patience)
            done.append({c.name: c.turn(sizes[c.name]) for c in self.contestants})
            if len(done) >= self.rounds and time.perf_counter() - start > self.patience:
                break
        counted = [r for r in done if _quiet(r)]
        if len(counted) < self.rounds:
            counted = sorted(done, key=_foreign)[: self.rounds]
        names = [c.name for c in self.contestants]
        rates = {n: [r[n].rate for r in counted] for n in names}
        pairs = [(a, b) for a in names for b in names if a != b]
        return {
            "rates": {n: statistics.median(rates[n]) for n in names},
            "span": {n: (min(rates[n]), max(rates[n])) for n in names},
            "processors": {n: statistics.median(r[n].used for r in counted) for n in names},
            "per_processor": {
                n: statistics.median(r[n].rate / max(r[n].used, 1e-9) for r in counted) for n in names
            },
            "ratios": {(a, b): statistics.median(r[a].rate / r[b].rate for r in counted) for a, b in pairs},
            "rounds": len(counted),
            "quiet_rounds": sum(map(_quiet, counted)),
            "foreign": max(map(_foreign, counted)),
        }

    def _size(self, contestant: Contestant) -> int:
        """Units of work that fill a turn, in hundreds where a turn holds hundreds."""
        step = int(contestant.facts.get("step", 100))
        turn = contestant.turn(step)
        return max(round(turn.rate * self.seconds / step), 1) * step


def _wait_for_quiet(until: float) -> None:
    """Sleep until the processors have been idle for half a second, or until the clock says `until`."""
    while time.perf_counter() < until:
        busy, start = _busy_seconds(), time.perf_counter()
        time.sleep(0.5)
        after = _busy_seconds()
        if busy is None or after is None or after - busy <= FOREIGN * (time.perf_counter() - start):
            return


def _quiet(turns: Mapping[str, Turn]) -> bool:
    return _foreign(turns) <= FOREIGN


def _foreign(turns: Mapping[str, Turn]) -> float:
    return max(turn.foreign or 0.0 for turn in turns.values())


def _busy_seconds() -> float | None:
    """Seconds of work of all processors since the machine started; None where the system does not tell."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _wait, interrupt, soft, stolen = map(int, first[1:9])
    return (user + nice + system + interrupt + soft + stolen) / float(os.sysconf("SC_CLK_TCK"))


def _end(process: subprocess.Popen[str]) -> None:
    """Close its input, which ends it, and make sure."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
