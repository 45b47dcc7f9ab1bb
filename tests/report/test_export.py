import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from multimodal_dql.errors import OutputError
from multimodal_dql.report import comparison_to_dict, ranking_to_dict, write_csv
from multimodal_dql.report.export import CSV_COLUMNS


def test_the_keys_of_a_ranking(sample):
    made = json.loads(json.dumps(ranking_to_dict(sample.ranking), allow_nan=False))
    assert set(made) == {"schema_version", "items", "evidence", "evidence_zh", "context", "skipped", "agent"}
    assert [item["item_id"] for item in made["items"]] == ["bridge", "library", "tie", "alone"]
    first = made["items"][0]
    assert first["verdict"] == "winner"
    assert first["variants"][0] == {
        "variant_id": "b",
        "rank": 1,
        "q_value": pytest.approx(0.126),
        "probability_best": 0.91,
        "click_rate": 0.042,
        "click_rate_low": pytest.approx(0.0336),
        "click_rate_high": pytest.approx(0.0525),
        "lift": pytest.approx(0.1),
        "lift_low": pytest.approx(0.06),
        "lift_high": pytest.approx(0.15),
        "reasons": [
            {
                "kind": "modality",
                "effect": 0.062,
                "en": "The picture speaks for it.",
                "zh": "图片是它的优势。",
            },
            {
                "kind": "neighbour",
                "effect": 0.018,
                "en": "It is close to a known winner.",
                "zh": "它与已知的胜者相近。",
            },
        ],
    }
    assert made["skipped"] == [
        {
            "item_id": "bridge",
            "variant_id": "c",
            "where": "stories.csv, line 4, image",
            "severity": "error",
            "en": "broken.png: cannot be read",
            "zh": "broken.png：无法读取",
        }
    ]
    assert made["context"] == {"device": "手机"}


def test_the_keys_of_a_comparison_and_numbers_json_has_no_word_for(sample):
    comparison = replace(sample.comparisons[0], item_uplift=np.array([0.2, np.nan, np.inf]), low=-np.inf)
    made = json.loads(json.dumps(comparison_to_dict(comparison), allow_nan=False))
    assert made == {
        "schema_version": 1,
        "arm": "learned",
        "against": "first",
        "uplift": 0.1,
        "low": None,
        "high": 0.16,
        "arm_rate": 0.033,
        "against_rate": 0.03,
        "sessions": 20_000,
        "items": [
            {"item_id": "bridge", "uplift": 0.2},
            {"item_id": "library", "uplift": None},
            {"item_id": "tie", "uplift": None},
        ],
    }


def test_csv_round_trip(sample, tmp_path):
    path = write_csv(sample.ranking, tmp_path / "new" / "ranking.csv", sample.catalogue, lang="zh")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert tuple(reader.fieldnames) == CSV_COLUMNS
    ranked = [(item, variant) for item in sample.ranking.items for variant in item.variants]
    assert len(rows) == len(ranked)
    captions = {(v.item_id, v.variant_id): v.caption or "" for v in sample.catalogue.variants}
    for row, (item, variant) in zip(rows, ranked, strict=True):
        assert row["item_id"] == item.item_id
        assert row["verdict"] == item.verdict
        assert row["variant_id"].removeprefix("'") == variant.variant_id
        assert row["headline"].removeprefix("'") == captions[item.item_id, variant.variant_id]
        for name in (
            "probability_best",
            "click_rate",
            "click_rate_low",
            "click_rate_high",
            "lift",
            "q_value",
        ):
            assert float(row[name]) == getattr(variant, name)
        assert not any((cell or "").startswith(("=", "+", "@")) for cell in row.values())
    assert rows[0]["main_reason"] == "图片是它的优势。"
    assert rows[0]["evidence"] == "依据是模拟受众，而非真实读者。"
    assert rows[0]["image"] == "b.png"
    assert rows[5]["variant_id"] == "'=1+1"
    assert rows[6]["headline"] == "'@SUM(A1)"


def test_a_place_that_cannot_be_written_is_named_with_the_cure(sample, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written") as caught:
        write_csv(sample.ranking, tmp_path / "file" / "ranking.csv", sample.catalogue)
    assert "无法写入" in caught.value.text("zh")
    with pytest.raises(OutputError):
        write_csv(sample.ranking, tmp_path, sample.catalogue)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
