"""Encoding on a Ray cluster of two nodes on this machine; runs in an environment of its own (``make test-sb3``)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from multimodal_dql.encoding import Active, Job
from multimodal_dql.encoding_stream import encode_file
from multimodal_dql.errors import EncoderError, UsageError
from tests.commands.refusals import assert_refused
from tests.conftest import write_catalogue, write_picture, write_tone
from tests.encoders.toys import Lengths

pytest.importorskip("ray")
pytestmark = pytest.mark.ray

ENCODERS = ["use-multilingual", "minilm", "efficientnet-lite0", "speech-embedding"]


@pytest.fixture(scope="module")
def cluster():
    import ray
    from ray.cluster_utils import Cluster

    # Workers are started by the nodes, which know the environment of this process and not its import path.
    changed = {
        "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")])),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    """Texts in two units, pictures in two, a few sounds; contents repeat, one picture is broken."""
    folder = tmp_path_factory.mktemp("stories")
    for n in range(18):
        write_picture(folder / f"{n}.png", (10 * n, 255 - 10 * n, 90))
    for n in range(3):
        write_tone(folder / f"{n}.wav", 200.0 + 100 * n)
    (folder / "3.png").write_text("no picture")
    rows = []
    for n in range(330):
        picture = f"{n % 18}.png" if n < 60 else ""
        sound = f"{n % 3}.wav" if n < 20 else ""
        rows.append((f"s{n // 3}", str(n), picture, f"Headline {n % 280} of the day, 标题 {n % 7}", sound))
    return write_catalogue(folder / "c.csv", rows)


def cache_bytes(cache: Path) -> dict[str, bytes]:
    """Everything that matters of a cache: rows, index and count of each store."""
    return {str(file.relative_to(cache)): file.read_bytes() for file in sorted(cache.glob("*/*.*"))}


def test_a_cluster_of_two_nodes_leaves_the_bytes_of_a_local_run(cluster, stories, tmp_path):
    import ray

    from multimodal_dql.encoding_ray import RayEngine

    assert len([node for node in ray.nodes() if node["Alive"]]) == 2
    local = encode_file(stories, ENCODERS, cache=tmp_path / "local")
    with RayEngine() as engine:
        far = encode_file(stories, ENCODERS, cache=tmp_path / "ray", engine=engine)
        again = encode_file(stories, ENCODERS, cache=tmp_path / "ray", engine=engine)
        assert len(engine._load) == 2
    assert cache_bytes(tmp_path / "ray") == cache_bytes(tmp_path / "local")
    assert (far.encoded, far.items, far.variants) == (local.encoded, local.items, local.variants)
    assert [problem.text() for problem in far.skipped] == [problem.text() for problem in local.skipped]
    assert (again.encoded, again.cached) == (0, far.encoded)


def test_a_worker_that_dies_is_replaced(cluster, tmp_path):
    from multimodal_dql.encoding_ray import RayEngine

    rows = [(f"s{n // 2}", str(n), "", f"A headline, number {n}", "") for n in range(1200)]
    catalogue = write_catalogue(tmp_path / "c.csv", rows)
    encode_file(catalogue, ["use-multilingual"], cache=tmp_path / "local")
    killed = []

    with RayEngine() as engine:

        def shoot(name, done, total):
            if not killed and done > 300:
                worker = engine._started()[0]
                killed.append(worker)
                engine._ray.kill(worker, no_restart=False)

        encode_file(catalogue, ["use-multilingual"], cache=tmp_path / "ray", engine=engine, progress=shoot)
    assert killed
    assert cache_bytes(tmp_path / "ray") == cache_bytes(tmp_path / "local")


def test_a_node_with_another_version_of_an_encoder_is_told(cluster, tmp_path):
    from multimodal_dql.encoding_ray import RayEngine

    active = Active.of("use-multilingual", tmp_path)
    other = Active(type(active.info)("use-multilingual", "text", 512, "older"), (), active.store, None)
    with RayEngine() as engine:
        with pytest.raises(EncoderError, match=r"on the node .* another version of this encoder"):
            engine.ready(other)
        with pytest.raises(UsageError, match="by name; 'lengths' is an object of this process"):
            engine.ready(Active.of(Lengths(), tmp_path))


def test_media_that_a_node_cannot_see_stop_the_run_with_the_cure(cluster, tmp_path):
    from multimodal_dql.encoding_ray import RayEngine

    active = Active.of("efficientnet-lite0", tmp_path)
    job = Job({b"k" * 32: tmp_path / "gone.png"}, {"efficientnet-lite0": frozenset([b"k" * 32])})
    with (
        RayEngine() as engine,
        pytest.raises(UsageError, match="put the media under the same path on every node"),
    ):
        list(engine.run("image", [active], iter([job])))


@pytest.mark.parametrize("where", ["this machine", "the cluster"])
def test_the_command_and_nothing_of_rays_own_on_stderr(cluster, stories, tmp_path, where):
    address = "local" if where == "this machine" else cluster.address
    command = [sys.executable, "-m", "multimodal_dql", "encode", str(stories), "--engine", "ray"]
    done = subprocess.run(
        [*command, "--encoders", "use-multilingual"],
        env={**os.environ, "MULTIMODAL_DQL_CACHE": str(tmp_path), "RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    encode_file(stories, ["use-multilingual"], cache=tmp_path / "local")
    assert cache_bytes(tmp_path / "features") == cache_bytes(tmp_path / "local")
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_cluster_that_does_not_answer_is_told_at_once(call, stories, monkeypatch, ray_is_off):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    done = call("encode", stories, "--engine", "ray")
    assert_refused(done, "Ray cannot be reached", "set RAY_ADDRESS")


@pytest.fixture
def ray_is_off(monkeypatch):
    """This process as one that is not connected yet."""
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
