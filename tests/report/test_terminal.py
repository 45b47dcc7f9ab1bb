import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from multimodal_dql.report import print_comparison, print_ranking


def shown(write, width=80, **options):
    console = Console(file=io.StringIO(), width=width, **options)
    write(console)
    return console.file.getvalue()


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_coloured(sample, lang, width):
    text = shown(lambda console: print_ranking(sample.ranking, sample.catalogue, console, lang), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text


def test_everything_is_said(sample):
    text = " ".join(shown(lambda console: print_ranking(sample.ranking, sample.catalogue, console)).split())
    for part in (
        "The old bridge Clear winner",
        "1 b How a bowl of noodles",
        "91% 4.2% [3.4, 5.3]",
        "Why: The picture speaks for it.",
        "Probably the best: 63%, against 37% for day.",
        "No clear winner: =1+1 (37%) is not far enough ahead of <b> (33%)",
        "2 clear winners, 1 lean, 1 without a clear winner",
        "What this rests on: a simulated audience, not real readers",
        "Audience: device = 手机",
        "stories.csv, line 4, image: broken.png: cannot be read",
    ):
        assert part in text


def test_it_speaks_chinese(sample):
    text = shown(lambda console: print_ranking(sample.ranking, sample.catalogue, console, "zh"))
    for part in (
        "胜者明确",
        "分不出胜负",
        "结论的依据：依据是模拟受众",
        "图片是它的优势。",
        "broken.png：无法读取",
    ):
        assert part in text


def test_wide_terminals_show_lift_and_every_variants_reason(sample):
    text = shown(lambda console: print_ranking(sample.ranking, sample.catalogue, console), 140)
    assert "The headline speaks against it." in text
    assert "+10.0%" in text


def test_a_terminal_gets_colours(sample):
    def write(console):
        print_ranking(sample.ranking, sample.catalogue, console)

    assert "\x1b[" in shown(write, force_terminal=True, color_system="standard", legacy_windows=False)


def test_comparisons_and_control(sample):
    text = shown(lambda console: print_comparison(sample.comparisons, console, control=sample.control))
    flat = " ".join(text.split())
    assert (
        "Against always the first variant, the agent brings 10.0% more clicks (95% interval +4.0% to +16.0%)."
        in flat
    )
    assert "+10.0% [+4.0%, +16.0%] 20,000" in flat
    assert "-0.4% against always the first variant" in flat
    assert "the interval includes zero" in flat
    assert max(cell_len(line) for line in text.splitlines()) <= 80


def test_one_comparison_in_chinese(sample):
    text = shown(lambda console: print_comparison(sample.comparisons[1], console, "zh"))
    assert "随机选一个变体" in text
    assert "6.0%" in text
