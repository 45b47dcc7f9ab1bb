"""A catalogue as a person would write it, and one small run trained on it through the command line."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import gc
import io
import json
import math
import os
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Every processor has a test run of its own: threads of one that wait for each other take time from the other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # XLA then compiles twice as fast; what it compiled runs more slowly, but not for long in a test.
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

import hypothesis
import numpy as np
import pytest
from PIL import Image

from multimodal_dql.__main__ import main
from multimodal_dql.encoders.paths import cache_root

from .graphs import SharedAgents, SharedGraphs

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

COLUMNS = ("item_id", "variant_id", "image", "caption", "audio")
# No column for impressions and clicks; Chinese, emoji and right-to-left text; one picture that does not exist.
ROWS = (
    ("彗星", "甲", "media/红.png", "彗星今晚最亮：四个好地方，都在地铁站旁边", "media/low.wav"),
    ("彗星", "乙", "media/blue.png", "七岁的她抬头许愿🌠希望它别迷路", "media/high.wav"),
    ("彗星", "丙", "media/missing.png", "这张图不存在", ""),
    ("noodles", "a", "media/green.png", "Where to eat noodles after midnight", ""),
    ("noodles", "b", "", "深夜去哪里吃面？🍜", "media/low.wav"),
    ("noodles", "c", "media/blue.png", "", ""),
    ("القطار", "أ", "media/green.png", "قطار الليل يصل قبل الفجر", "media/high.wav"),
    ("القطار", "ب", "media/红.png", "رحلة هادئة إلى الجبال 🚆", ""),
    ("tea", "a", "media/blue.png", "Spring tea, picked before the rain", "media/high.wav"),
    ("tea", "b", "media/红.png", "明前茶：雨前采下的第一篮", "media/low.wav"),
)


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines on stderr."""
        return self.err.splitlines()


def write_picture(path: Path, colour: tuple[int, int, int]) -> None:
    """A chequered PNG."""
    y, x = np.mgrid[:96, :128]
    light = np.where((x // 16 + y // 16) % 2, 1.0, 0.5)
    Image.fromarray((light[..., None] * colour).astype(np.uint8)).save(path)


def write_tone(path: Path, hertz: float) -> None:
    """A second of a sine at 22,050 Hz, 16 bit."""
    t = np.arange(22_050) / 22_050
    samples = (0.4 * np.sin(2 * math.pi * hertz * t) * 32_767).astype("<i2")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(22_050)
        out.writeframes(samples.tobytes())


def write_catalogue(path: Path, rows: Sequence[Sequence[object]] = ROWS, encoding: str = "utf-8") -> Path:
    """A CSV with the columns of `COLUMNS`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def run_command(*args: object, cache: Path, seconds: float = 300, **env: str) -> Done:
    """The command line in a process of its own, as a user has it: no terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "multimodal_dql", *map(str, args)],
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=seconds,
        env={**os.environ, "MULTIMODAL_DQL_CACHE": str(cache), "PYTHONIOENCODING": "utf-8", **env},
    )
    return Done(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))


LONG = (
    "tests/test_resume.py",
    "tests/test_logged.py",
    "tests/bench/test_simulator.py",
    "tests/bench/test_headlines.py",
    "tests/bench/test_training.py",
    "tests/commands/test_train.py",
    "tests/test_faults.py",
    "tests/commands/test_encoders.py",
    "tests/encoders/test_plugins.py",
    "tests/bench/test_captions.py",
    "tests/test_encoding.py",
    "tests/test_modes.py",
    "tests/test_training.py",
    "tests/commands/test_rank.py",
    "tests/test_wheel.py",
)
"""Files that take half a minute or more come first, so that none of them comes last, alone."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not os.environ.get("MULTIMODAL_DQL_DATA"):
        for item in items:
            if "realdata" in item.keywords:
                item.add_marker(
                    pytest.mark.skip(reason="MULTIMODAL_DQL_DATA does not name the folder of real data")
                )
    if hasattr(config, "workerinput"):
        place = {name: i for i, name in enumerate(LONG)}
        items.sort(key=lambda item: place.get(item.nodeid.split("::")[0], len(LONG)))


def pytest_collection_finish() -> None:
    """What was imported stays; to look through it for garbage costs a quarter of the time of tracing a graph."""
    gc.set_threshold(50_000, 10, 20)


Call = Callable[..., Done]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cache: Path) -> Call:
    """`main` in this process: the same path as the command, without starting TensorFlow for every test."""
    monkeypatch.setenv("MULTIMODAL_DQL_CACHE", str(cache))

    def run(*args: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["multimodal-dql", *map(str, args)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        # TensorFlow counts agents in a process and finds many of them worth a remark; a user has one.
        err = "".join(line + "\n" for line in err.splitlines() if not line.startswith("WARNING:tensorflow"))
        return Done(int(stopped.value.code or 0), out, err)

    return run


@contextlib.contextmanager
def made_once(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that all processes of a test run share, and whether it is still to be filled; the others wait."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / name
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        new = not folder.exists()
        folder.mkdir(exist_ok=True)
        yield folder, new


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for the whole session: nothing is encoded yet; what encoders are made of is the user's."""
    with made_once(tmp_path_factory, "cache") as (folder, new):
        if new:
            prepared = cache_root() / "encoders"
            prepared.mkdir(parents=True, exist_ok=True)
            (folder / "encoders").symlink_to(prepared)
    return folder


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalogue `ROWS` with its pictures and sounds."""
    with made_once(tmp_path_factory, "stories") as (folder, new):
        if new:
            (folder / "media").mkdir()
            for name, colour in (("红", (220, 40, 40)), ("blue", (40, 60, 220)), ("green", (30, 180, 80))):
                write_picture(folder / "media" / f"{name}.png", colour)
            for name, hertz in (("low", 330.0), ("high", 880.0)):
                write_tone(folder / "media" / f"{name}.wav", hertz)
            write_catalogue(folder / "stories.csv")
    return folder / "stories.csv"


@pytest.fixture(scope="session")
def trained_run(stories: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A run directory of two iterations, and what the command said."""
    with made_once(tmp_path_factory, "trained") as (folder, new):
        run, said = folder / "run", folder / "said.json"
        if new:
            args = ("train", stories, "--out", run, "--iterations", 2, "--sessions", 100, "--json")
            done = run_command(*args, cache=cache)
            assert done.code == 0, done.err
            said.write_text(json.dumps(asdict(done)))
    return run, Done(**json.loads(said.read_text()))


@pytest.fixture(scope="session")
def graphs() -> SharedGraphs:
    return SharedGraphs()


@pytest.fixture(scope="module")
def shared_graphs(graphs: SharedGraphs) -> Iterator[SharedGraphs]:
    """All trainings of a file that asks for it compute with graphs that other trainings of this form left."""
    with graphs.used():
        yield graphs


@pytest.fixture(scope="session")
def shared_agents() -> SharedAgents:
    return SharedAgents()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A function that installs a package whose entry points are plug-ins."""
    names: list[str] = []

    def install(package: str, module: str, **points: str) -> None:
        site = tmp_path / "site"
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name.replace('_', '-')} = {target}" for name, target in points.items()]
        (info / "entry_points.txt").write_text("[multimodal_dql.encoders]\n" + "\n".join(lines))
        (site / f"{package}.py").write_text(module)
        monkeypatch.syspath_prepend(str(site))
        names.append(package)

    yield install
    for name in names:
        sys.modules.pop(name, None)
