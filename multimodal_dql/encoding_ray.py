"""The engine that encodes on a Ray cluster (Moritz et al., 2018, arXiv:1712.05889), with the bytes of the local one.

One worker for each processor of the cluster takes whole jobs; vectors come back to this process, which alone
writes the cache, job after job in the order of the catalogue. So the cluster needs no shared cache and no locks
over a network, and the cache ends as a local run leaves it. What the nodes do need: the same version of this package
and of the encoders' files (their fingerprints are compared), and media under the same paths.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from multimodal_dql.datasets.media import MediaLoader
from multimodal_dql.encoders.base import Encoder, Modality
from multimodal_dql.encoders.inputs import decoded
from multimodal_dql.encoders.paths import add_extra_cards, extra_cards, project_cards
from multimodal_dql.encoders.registry import load_encoder
from multimodal_dql.encoding import Active, Job, Made, make
from multimodal_dql.errors import EncoderError, EncoderUnavailable, InputError, MediaMissing, UsageError

__all__ = ["RayEngine"]

_JOBS_A_WORKER = 2
"""One that it works on and one that waits; bounds the memory of results."""

_RESTARTS = 3
"""Of a worker whose process or node is lost; its job is done again elsewhere."""

_ANSWER_SECONDS = 10.0

_HANDED_ON = ("MULTIMODAL_DQL_CACHE", "MULTIMODAL_DQL_CARDS")


class RayEngine:
    """Workers on the cluster that Ray finds (``RAY_ADDRESS``, or one that runs here), else on this machine.

    A context manager: leaving it ends the workers, and Ray if it was started here.

    Raises:
        UsageError: Ray is not installed, or no worker can be started.

    """

    def __init__(self) -> None:
        try:
            import ray
        except ImportError:
            raise UsageError(
                detail="--engine ray needs Ray, which is not installed: pip install 'multimodal-dql[ray]'",
                detail_zh="--engine ray 需要 Ray，但未安装：pip install 'multimodal-dql[ray]'",
            ) from None
        self._ray = ray
        self._own = not ray.is_initialized()
        if self._own:
            self._connect()
        self._starting = {(worker := self._worker()): worker.host.remote() for _ in range(self._processors())}
        self._load: dict[Any, int] = {}

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (*self._starting, *self._load):
            self._ray.kill(worker)
        if self._own:
            self._ray.shutdown()

    def ready(self, active: Active) -> None:
        """Loads the model on one worker."""
        if active.model is not None:
            raise UsageError(
                detail=f"a cluster needs encoders by name; '{active.info.name}' is an object of this process",
                detail_zh=f"集群需要按名称使用编码器；“{active.info.name}” 是本进程中的对象",
            )
        worker = self._started()[0]
        if (error := self._get(worker.load.remote(active.info.name, active.info.fingerprint))) is not None:
            raise error

    def run(
        self, modality: Modality, encoders: Sequence[Active], jobs: Iterator[Job]
    ) -> Iterator[tuple[Job, Made]]:
        """Each job with what came of it."""
        fingerprints = {active.info.name: active.info.fingerprint for active in encoders}
        under_way: deque[tuple[Job, Any, Any]] = deque()
        while True:
            workers = self._started()
            while len(under_way) < _JOBS_A_WORKER * len(workers):
                job = next(jobs, None)
                if job is None:
                    break
                worker = min(workers, key=self._load.__getitem__)
                self._load[worker] += 1
                under_way.append((job, worker, worker.work.remote(modality, _absolute(job), fingerprints)))
            if not under_way:
                return
            job, worker, result = under_way.popleft()
            made = self._get(result)
            self._load[worker] -= 1
            if isinstance(made, InputError):
                raise made
            yield job, made

    def _connect(self) -> None:
        # Ray reports its use to its makers unless told not to; this program sends nothing anywhere.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Its own messages stay out of stderr, where this program says one line for each thing.
        options = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
        try:
            _refuse_nobody(os.environ.get("RAY_ADDRESS", ""))
            self._ray.init(**options)
        except (OSError, RuntimeError, ValueError) as error:
            said = str(error).strip().splitlines()[0]
            raise UsageError(
                detail=f"Ray cannot be reached ({said}); set RAY_ADDRESS to your cluster, or unset it to use this "
                "machine",
                detail_zh=f"无法连接 Ray（{said}）；请将 RAY_ADDRESS 设为集群地址，或取消设置以使用本机",
            ) from error

    def _processors(self) -> int:
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def _worker(self) -> Any:
        kind = self._ray.remote(num_cpus=1, max_restarts=_RESTARTS, max_task_retries=_RESTARTS)(_Worker)
        handed_on = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
        return kind.remote([str(path.resolve()) for path in (*extra_cards(), *project_cards())], handed_on)

    def _started(self) -> list[Any]:
        """Workers that have a processor by now; waits for the first."""
        while self._starting:
            waiting = None if not self._load else 0
            refs = list(self._starting.values())
            done, _ = self._ray.wait(refs, num_returns=1, timeout=waiting)
            if not done:
                break
            (worker,) = (worker for worker, ref in self._starting.items() if ref == done[0])
            self._get(self._starting.pop(worker))
            self._load[worker] = 0
        return list(self._load)

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            said = [line for line in str(error).strip().splitlines() if line.strip()] or [
                type(error).__name__
            ]
            raise UsageError(
                detail=f"a worker of the Ray cluster failed ({said[-1].strip()}); install the same version of "
                "multimodal-dql[ray] on every node, or use --engine local; what is encoded so far is kept",
                detail_zh=f"Ray 集群的一个工作进程失败（{said[-1].strip()}）；请在每个节点安装相同版本的 "
                "multimodal-dql[ray]，或使用 --engine local；已编码的部分会保留",
            ) from error


class _Worker:
    """Encoders and a decoder in a process of the cluster."""

    def __init__(self, cards: list[str], environment: Mapping[str, str]) -> None:
        for name, value in environment.items():
            os.environ.setdefault(name, value)
        for folder in cards:
            if Path(folder).is_dir():
                add_extra_cards(Path(folder))
        self._encoders: dict[str, Encoder] = {}
        self._loader = MediaLoader()

    def host(self) -> str:
        return socket.gethostname()

    def load(self, name: str, fingerprint: str) -> InputError | None:
        """Loads an encoder, if it is not here yet; what stands against it."""
        try:
            encoder = self._encoders.get(name) or load_encoder(name)
        except EncoderUnavailable as error:
            return error
        except InputError as error:
            return self._refusal(name, error.text("en"), error.text("zh"))
        if encoder.fingerprint != fingerprint:
            other = "it has another version of this encoder; install the same packages and card there"
            return self._refusal(name, other, "该编码器的版本不同；请在该节点安装相同的软件包和卡片")
        self._encoders[name] = encoder
        return None

    def work(self, modality: Modality, job: Job, fingerprints: Mapping[str, str]) -> Made | InputError:
        for name in job.wanted:
            if (error := self.load(name, fingerprints[name])) is not None:
                return error
        made = make(self._encoders, job, decoded(modality, job.sources.values(), self._loader))
        for missing in made.broken.values():
            if isinstance(missing, MediaMissing):  # it was there when its content key was computed
                return UsageError(
                    detail=f"{missing.fields['path']} cannot be seen from the node {self.host()}; put the media "
                    "under the same path on every node, or use --engine local",
                    detail_zh=f"节点 {self.host()} 上没有 {missing.fields['path']}；请让各节点以相同路径访问媒体文件，"
                    "或使用 --engine local",
                )
        return made

    def _refusal(self, name: str, said: str, said_zh: str) -> EncoderError:
        return EncoderError(
            name=name,
            detail=f"on the node {self.host()}: {said}",
            detail_zh=f"节点 {self.host()}：{said_zh}",
        )


def _refuse_nobody(address: str) -> None:
    """Raises OSError if nobody answers at ``host:port``; Ray itself would try for minutes, aloud."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()


def _absolute(job: Job) -> Job:
    sources = {
        key: Path(os.path.abspath(given)) if isinstance(given, Path) else given
        for key, given in job.sources.items()
    }
    return Job(sources, job.wanted)
