"""The decoder processes: what happens when one hangs, dies, runs out of memory, or lies."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from multimodal_dql.datasets._files import open_regular
from multimodal_dql.datasets._process import DecoderProcess
from multimodal_dql.datasets._refusals import Refusal, refusal_error
from multimodal_dql.datasets.media import MediaLimits, MediaLoader, load_image, media_digest
from multimodal_dql.errors import DecoderFailed, MediaError, MediaMissing


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 20), (10, 20, 30)).save(path)
    return path


@pytest.fixture
def teaser(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(1600), 16_000)
    return path


def state_of(pid: int) -> str:
    """R, S, T... of a process, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def wait_until(happened: Callable[[], bool]) -> None:
    for _ in range(2000):
        if happened():
            return
        time.sleep(0.005)
    raise AssertionError("it never happened")


def test_one_process_serves_many_files(picture: Path, teaser: Path) -> None:
    with MediaLoader() as loader:
        assert loader.pids == ()  # started when first needed
        loader.image(picture)
        (pid,) = loader.pids
        for _ in range(20):
            loader.image(picture)
            loader.audio(teaser)
        assert loader.pids == (pid,)
    wait_until(lambda: state_of(pid) == "")


def test_a_decoder_that_hangs_costs_one_file(picture: Path) -> None:
    with MediaLoader(MediaLimits(timeout_seconds=2.5)) as loader:
        loader.image(picture)
        (pid,) = loader.pids
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(DecoderFailed, match=r"took longer than 2\.5 seconds") as caught:
            loader.image(picture)
        assert caught.value.exit_code == 2
        assert "2.5 秒" in caught.value.text("zh")
        assert state_of(pid) == ""
        assert loader.image(picture).shape == (20, 40, 3)
        assert loader.pids != (pid,)


def test_a_decoder_that_dies_in_the_middle_costs_one_file(picture: Path) -> None:
    with MediaLoader() as loader:
        loader.image(picture)
        (pid,) = loader.pids
        os.kill(pid, signal.SIGSTOP)  # hold it, so that the request is under way when it dies
        found: list[object] = []
        asking = threading.Thread(target=lambda: found.extend(loader.images([picture])))
        asking.start()
        wait_until(lambda: bool(unread_requests(pid)))
        os.kill(pid, signal.SIGKILL)
        asking.join()
        (error,) = found
        assert isinstance(error, DecoderFailed)
        assert "decoding it crashed" in str(error)
        assert loader.image(picture).shape == (20, 40, 3)


def unread_requests(pid: int) -> int:
    """Bytes that wait in the standard input of a stopped process."""
    import array
    import fcntl
    import termios

    with open(f"/proc/{pid}/fd/0", "rb", buffering=0) as pipe:
        waiting = array.array("i", [0])
        fcntl.ioctl(pipe, termios.FIONREAD, waiting)
        return waiting[0]


def test_a_decoder_that_died_between_files_costs_none(picture: Path) -> None:
    with MediaLoader() as loader:
        loader.image(picture)
        (pid,) = loader.pids
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: state_of(pid) in ("Z", ""))
        assert loader.image(picture).shape == (20, 40, 3)


def test_memory_is_bounded(tmp_path: Path, picture: Path) -> None:
    """A picture within the pixel budget whose pixels need more than the decoder may take."""
    big = tmp_path / "big.png"
    Image.new("RGB", (4000, 4000)).save(big, compress_level=1)
    with MediaLoader(MediaLimits(memory_bytes=30_000_000)) as loader:
        assert loader.image(picture).shape == (20, 40, 3)
        with pytest.raises(DecoderFailed, match="needed more memory than 30 MB; export it smaller"):
            loader.image(big)
        assert loader.image(picture).shape == (20, 40, 3)
    with MediaLoader() as loader:
        assert loader.image(big).shape == (1000, 1000, 3)


def test_the_process_is_locked_up(picture: Path) -> None:
    limits = MediaLimits()
    with MediaLoader(limits) as loader:
        loader.image(picture)
        (pid,) = loader.pids
        memory = resource.prlimit(pid, resource.RLIMIT_AS)
        assert limits.memory_bytes < memory[0] < limits.memory_bytes + (1 << 30)
        assert resource.prlimit(pid, resource.RLIMIT_FSIZE) == (0, 0)  # it can write no file
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        assert resource.prlimit(pid, resource.RLIMIT_CPU)[0] <= limits.timeout_seconds + 3
        maps = Path(f"/proc/{pid}/maps").read_text()
    for heavy in ("tensorflow", "keras", "librosa", "numba", "pyarrow", "pydantic", "sklearn"):
        assert f"/{heavy}" not in maps


def test_the_processor_limit_moves_on_with_each_file(picture: Path) -> None:
    """The limit counts from the start of the process; a long run of good files must not use it up."""
    with MediaLoader() as loader:
        loader.image(picture)
        (pid,) = loader.pids
        first = resource.prlimit(pid, resource.RLIMIT_CPU)[0]
        big = picture.parent / "big.jpg"
        Image.effect_noise((3000, 3000), 60).save(big, quality=95)

        def moved() -> bool:
            loader.image(big)
            return resource.prlimit(pid, resource.RLIMIT_CPU)[0] > first

        wait_until(moved)
        assert loader.pids == (pid,)


def test_results_come_in_order_with_errors_in_their_places(tmp_path: Path) -> None:
    paths = []
    for n in range(30):
        paths.append(tmp_path / f"{n}.png")
        if n % 7 != 3:
            Image.new("RGB", (n + 1, 5)).save(paths[-1])
    with MediaLoader(workers=2) as loader:
        found = list(loader.images(iter(paths)))
        assert len(loader.pids) == 2
    for n, result in enumerate(found):
        if n % 7 == 3:
            assert isinstance(result, MediaMissing)
            assert f"{n}.png" in str(result)
        else:
            assert isinstance(result, np.ndarray)
            assert result.shape == (5, n + 1, 3)


def test_two_passes_at_once_and_single_calls_in_between(picture: Path, teaser: Path) -> None:
    with MediaLoader(workers=2) as loader:
        for image, sound in zip(loader.images([picture] * 9), loader.audios([teaser] * 9), strict=True):
            assert isinstance(image, np.ndarray)
            assert isinstance(sound, np.ndarray)
            assert (image.shape, sound.shape) == ((20, 40, 3), (1600,))
            assert loader.image(picture).shape == (20, 40, 3)


def test_a_pass_that_is_given_up_leaves_the_loader_usable(picture: Path) -> None:
    with MediaLoader() as loader:
        for _ in loader.images([picture] * 50):
            break
        assert loader.image(picture).shape == (20, 40, 3)


def test_few_files_are_read_ahead_of_the_caller(picture: Path) -> None:
    asked = []

    def paths() -> object:
        for n in range(100):
            asked.append(n)
            yield picture

    with MediaLoader() as loader:
        results = loader.images(paths())  # type: ignore[arg-type]
        next(results)
        assert len(asked) <= 4
        results.close()  # type: ignore[attr-defined]


def test_closing_while_decoding_fails_that_file_only(picture: Path) -> None:
    loader = MediaLoader()
    loader.image(picture)
    (pid,) = loader.pids
    os.kill(pid, signal.SIGSTOP)
    found: list[object] = []

    def ask() -> None:
        try:
            loader.image(picture)
        except MediaError as error:
            found.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: bool(unread_requests(pid)))
    loader.close()
    asking.join()
    assert isinstance(found[0], DecoderFailed)
    assert state_of(pid) == ""
    loader.close()
    with pytest.raises(RuntimeError, match="closed"):
        loader.image(picture)


def test_workers_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MediaLoader(workers=0)


@pytest.mark.parametrize(
    "reply",
    [
        {"shape": [1 << 20, 1 << 20, 3]},
        {"shape": [-1, 4, 3]},
        {"shape": [4, 4, 4]},
        {"shape": [4, 4]},
        {"shape": "big"},
        {"shape": None},
        {},
        [],
        {"code": "no such code", "fields": {}},
        {"code": "picture_too_large", "fields": {}},
        {"code": "picture_too_large", "fields": {"width": "{0}", "height": [], "budget": 1}},
        {"code": "not_a_picture", "fields": {"seen": "<script>"}},
        {"code": "picture_damaged", "fields": None},
    ],
)
def test_a_decoder_taken_over_by_a_file_can_only_fail(
    picture: Path, monkeypatch: pytest.MonkeyPatch, reply: object
) -> None:
    """A real child process that answers what no decoder answers."""
    child = f"""
        import json, os, struct, sys
        def send(value):
            body = json.dumps(value).encode()
            os.write(1, struct.pack("<I", len(body)) + body)
        send({{"ready": 1}})
        os.read(0, 4)
        send(json.loads({json.dumps(json.dumps(reply))}))
        os.write(1, b"x" * 100)
        os.read(0, 100_000)
    """
    monkeypatch.setattr("multimodal_dql.datasets._process._BOOT", textwrap.dedent(child))
    decoder = DecoderProcess({"timeout_seconds": 5.0, "side": 1024, "seconds": 600.0})
    with pytest.raises(DecoderFailed, match="decoding it crashed"):
        decoder.decode("image", picture)
    assert decoder.pid is None
    decoder.stop()


def test_what_a_decoder_says_is_bounded_and_printable(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = """
        import json, os, struct
        def send(value):
            body = json.dumps(value).encode()
            os.write(1, struct.pack("<I", len(body)) + body)
        send({"ready": 1})
        os.read(0, 4)
        send({"code": "picture_damaged", "fields": {"reason": "\\x1b[31m" + "x" * 10_000}})
        os.read(0, 100_000)
    """
    monkeypatch.setattr("multimodal_dql.datasets._process._BOOT", textwrap.dedent(child))
    decoder = DecoderProcess({"timeout_seconds": 5.0})
    with pytest.raises(MediaError) as caught:
        decoder.decode("image", picture)
    decoder.stop()
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_every_refusal_has_a_sentence_in_both_languages() -> None:
    fields = {
        "kind": "folder",
        "seen": "svg",
        "unit": "bytes",
        "reason": "x",
        **dict.fromkeys(("megabytes", "budget", "width", "height", "have", "want", "seconds"), 1),
        **dict.fromkeys(("channels", "rate", "low", "high"), 1),
    }
    from multimodal_dql.datasets import _refusals

    for code in _refusals._TABLE:
        error = refusal_error(Path("x.png"), code, fields)
        assert error.fields["code"] == code
        assert "; " in error.text("en")
        assert "；" in error.text("zh")
        assert "{" not in error.text("en") + error.text("zh")


def test_a_killed_parent_leaves_no_decoder_behind(picture: Path) -> None:
    script = """
        import sys, time
        from multimodal_dql.datasets import MediaLoader
        loader = MediaLoader()
        loader.image(sys.argv[1])
        print(loader.pids[0], flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(picture)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert state_of(pid)
        parent.kill()
    wait_until(lambda: state_of(pid) in ("", "Z"))


def test_a_program_that_ends_without_closing_ends_quietly(picture: Path) -> None:
    script = """
        import sys
        from multimodal_dql.datasets import MediaLoader, load_image
        loader = MediaLoader()
        loader.image(sys.argv[1])
        load_image(sys.argv[1])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(picture)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_forked_process_gets_a_decoder_of_its_own(picture: Path) -> None:
    script = """
        import os, sys
        from multimodal_dql.datasets import load_image, media
        load_image(sys.argv[1])
        mine = media._shared_loader()
        if (child := os.fork()) == 0:
            good = media._shared_loader() is not mine and load_image(sys.argv[1]).shape == (20, 40, 3)
            media._shared_loader().close()
            os._exit(0 if good else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        load_image(sys.argv[1])
        sys.exit(status)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(picture)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_decoders_print_nothing(tmp_path: Path) -> None:
    """libtiff and mpg123 complain on standard error about files like these."""
    Image.new("RGB", (64, 64)).save(tmp_path / "x.tiff", compression="tiff_lzw")
    data = (tmp_path / "x.tiff").read_bytes()
    (tmp_path / "x.tiff").write_bytes(data[:8] + data[8:].replace(b"\x80", b"\x81"))
    (tmp_path / "x.mp3").write_bytes(b"\xff\xfb\x90\x00" + b"\x12" * 5000)
    script = """
        import sys
        from multimodal_dql.datasets import MediaLoader
        with MediaLoader() as loader:
            list(loader.images([sys.argv[1]]))
            list(loader.audios([sys.argv[2]]))
    """
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(script),
        str(tmp_path / "x.tiff"),
        str(tmp_path / "x.mp3"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_process_that_cannot_start_is_our_fault(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from multimodal_dql.errors import InputError, MultimodalDQLError

    monkeypatch.setattr("multimodal_dql.datasets._process._BOOT", "raise SystemExit(1)")
    with MediaLoader() as loader, pytest.raises(MultimodalDQLError, match="did not start") as caught:
        loader.image(picture)
    assert not isinstance(caught.value, InputError)
    assert caught.value.exit_code == 1


def test_a_relative_path_follows_the_callers_folder(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with MediaLoader() as loader:
        loader.image(picture)
        monkeypatch.chdir(picture.parent)
        assert loader.image("a.png").shape == load_image("a.png").shape == (20, 40, 3)


def test_a_file_exchanged_for_a_fifo_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the file and its opening; a blocking open would wait for a writer for ever."""
    regular, fifo = tmp_path / "regular", tmp_path / "fifo"
    regular.write_bytes(b"x")
    os.mkfifo(fifo)
    look = os.stat(regular)
    monkeypatch.setattr("multimodal_dql.datasets._files.os.stat", lambda path: look)
    told: list[str] = []

    def open_it() -> None:
        try:
            open_regular(fifo, 1000)
        except Refusal as refusal:
            told.append(str(refusal.fields["kind"]))

    opening = threading.Thread(target=open_it, daemon=True)
    opening.start()
    opening.join(30)
    assert told == ["fifo"]


def test_media_digest(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert media_digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(MediaMissing):
        media_digest(tmp_path / "none")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(MediaError, match="FIFO"):
        media_digest(tmp_path / "fifo")
