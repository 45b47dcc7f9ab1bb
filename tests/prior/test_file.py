"""What is read predicts bit for bit as what was written; a file made to do harm ends in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from multimodal_dql.encoders.sources import sha256_of
from multimodal_dql.errors import OutputError, RunError
from multimodal_dql.prior.blocks import BlockSettings
from multimodal_dql.prior.file import ARRAYS_NAME, FILE_NAME, read_prior, write_prior
from multimodal_dql.prior.model import ContentPrior, fit_prior
from tests.prior.planted import planted


@pytest.fixture(scope="module")
def fitted() -> ContentPrior:
    made, contents, _, _ = planted(40, 8)
    prior = fit_prior(made, contents, BlockSettings(words=10, topics=2, deviations=3))
    return replace(
        prior, shrink=0.9, sd_factor=1.1, fingerprints={"vectors": "指纹"}, facts={"tests": 40, "备注": "好"}
    )


@pytest.fixture
def run(fitted: ContentPrior, tmp_path: Path) -> Path:
    write_prior(fitted, tmp_path / "跑")
    return tmp_path / "跑"


def test_reading_gives_back_every_bit(fitted: ContentPrior, run: Path) -> None:
    again = read_prior(run)
    _, contents, _, _ = planted(10, 9)
    before, after = fitted.predict(contents), again.predict(contents)
    assert before.mean.tobytes() == after.mean.tobytes()
    assert before.sd.tobytes() == after.sd.tobytes()
    assert (again.facts, again.fingerprints) == (fitted.facts, fitted.fingerprints)
    write_prior(again, run.parent / "twice")
    for name in (FILE_NAME, ARRAYS_NAME):
        assert (run / name).read_bytes() == (run.parent / "twice" / name).read_bytes()


def test_a_prior_without_optional_blocks(tmp_path: Path) -> None:
    made, contents, _, _ = planted(30, 10)
    prior = fit_prior(made, contents, BlockSettings(style=False, words=0, topics=0))
    write_prior(replace(prior, fingerprints={"vectors": "x"}), tmp_path)
    assert read_prior(tmp_path).predict(contents).mean.tobytes() == prior.predict(contents).mean.tobytes()


def test_the_column_of_the_level_comes_back_and_must_fit(tmp_path: Path) -> None:
    made, contents, _, _ = planted(120, 12)
    prior = replace(
        fit_prior(made, contents, BlockSettings(words=10, topics=2, deviations=3)),
        fingerprints={"vectors": "x"},
    )
    assert set(prior.blocks.level) == {"vectors", "style", "words"}
    run = tmp_path / "run"
    write_prior(prior, run)
    assert read_prior(run).predict(contents).mean.tobytes() == prior.predict(contents).mean.tobytes()
    for name, array in (
        ("level:words", np.zeros(9)),
        ("level:novelty", np.zeros(1)),
        ("level:else", np.zeros(1)),
    ):
        write_prior(prior, run)
        arrays = load_file(run / ARRAYS_NAME)
        save_file(arrays | {name: array}, run / ARRAYS_NAME)
        edit(run, arrays_sha256=sha256_of(run / ARRAYS_NAME))
        with pytest.raises(RunError, match="not a whole content prior"):
            read_prior(run)
    write_prior(prior, run)
    for name in prior.blocks.level:  # the column without its weights
        edit_array(run, f"level:{name}", None)
    with pytest.raises(RunError, match="not a whole content prior"):
        read_prior(run)


def test_directions_of_a_wide_embedding_come_back_and_must_fit(tmp_path: Path) -> None:
    made, contents, _, _ = planted(40, 13)
    settings = BlockSettings(words=0, topics=1, deviations=2, directions=3)
    prior = replace(fit_prior(made, contents, settings), fingerprints={"vectors": "x"})
    dim = contents.vectors["vectors"].shape[1]
    assert prior.blocks.axes["vectors"].shape == (dim, 3)
    assert dim > 4
    run = tmp_path / "run"
    write_prior(prior, run)
    assert read_prior(run).predict(contents).mean.tobytes() == prior.predict(contents).mean.tobytes()
    for array in (np.zeros((dim, 4)), np.zeros((dim + 1, 3)), np.zeros(dim), None):
        write_prior(prior, run)
        edit_array(run, "axes:vectors", array)
        with pytest.raises(RunError, match="not a whole content prior"):
            read_prior(run)


def edit(run: Path, **changes: object) -> None:
    path = run / FILE_NAME
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), encoding="utf-8")


def edit_array(run: Path, name: str, array: np.ndarray | None) -> None:
    arrays = load_file(run / ARRAYS_NAME)
    del arrays[name]
    save_file(arrays | ({} if array is None else {name: array}), run / ARRAYS_NAME)
    edit(run, arrays_sha256=sha256_of(run / ARRAYS_NAME))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "multimodal-dql prior 9"},
        {"arrays_sha256": "0" * 64},
        {"encoders": ["vectors", "vectors"]},
        {"encoders": []},
        {"dims": {"vectors": 10**9}},
        {"dims": {"vectors": 13}},
        {"dims": {}},
        {"blocks": ["vectors"]},
        {"scales": [1.0]},
        {"vocabulary": ["a"]},
        {"style_names": ["length"]},
        {"tau": 0.0},
        {"tau": float("nan")},
        {"tau": "1e400"},
        {"log_s": [1e9] * 5},
        {"overdispersion": 0.5},
        {"shrink": -1.0},
        {"sd_factor": 0.0},
        {"fingerprints": {}},
        {"more": 1},
    ],
    ids=lambda changes: f"{next(iter(changes))}={str(next(iter(changes.values())))[:24]}",
)
def test_edited_facts_are_refused(run: Path, changes: dict[str, object]) -> None:
    edit(run, **changes)
    with pytest.raises(RunError, match=r"not a whole content prior.*prior fit TESTS") as caught:
        read_prior(run)
    assert "\n" not in caught.value.text("zh")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("weights_mean", None),
        ("weights_mean", np.zeros(3)),
        ("weights_mean", np.zeros(3, np.int8)),
        ("weights_root", np.zeros((2, 2), np.float32)),
        ("weights_root", np.full((2, 2), np.nan, np.float32)),
        ("block", np.zeros(4, np.int64)),
        ("style_sd", None),
        ("novelty_sd", np.array([-1.0])),
        ("topic:vectors:directions", np.zeros((3, 3))),
        ("topic:vectors:mean", None),
        ("idf", np.zeros((2, 5))),
    ],
)
def test_edited_arrays_are_refused(run: Path, name: str, array: np.ndarray | None) -> None:
    edit_array(run, name, array)
    with pytest.raises(RunError, match="not a whole content prior"):
        read_prior(run)


def test_broken_files_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no content prior"):
        read_prior(tmp_path)
    data = (run / ARRAYS_NAME).read_bytes()
    (run / ARRAYS_NAME).write_bytes(data[:100])
    edit(run, arrays_sha256=sha256_of(run / ARRAYS_NAME))
    with pytest.raises(RunError, match="not a whole content prior"):
        read_prior(run)
    (run / ARRAYS_NAME).unlink()
    with pytest.raises(RunError, match="No such file"):
        read_prior(run)
    for text in ("", "[]", "[" * 5000, "{", '{"format": 1}'):
        (run / FILE_NAME).write_text(text)
        with pytest.raises(RunError, match="not a whole content prior"):
            read_prior(run)


def test_a_place_that_takes_no_files(fitted: ContentPrior, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_prior(fitted, tmp_path / "file")
