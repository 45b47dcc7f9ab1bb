"""The page of a trial in a real browser."""

import pytest

from multimodal_dql.report import write_trial_html
from tests.report.test_browser import UNREADABLE, browser, pytestmark
from tests.report.trials import trial

__all__ = ["browser", "pytestmark"]


@pytest.fixture(
    scope="module",
    params=[("winners", "en"), ("winners", "zh"), ("open", "zh"), ("invalid", "en")],
    ids="-".join,
)
def page(request, browser, tmp_path_factory):
    name, lang = request.param
    path = tmp_path_factory.mktemp("page") / "trial.html"
    write_trial_html(path, trial=trial(name), lang=lang)
    browser.get(path.as_uri())
    return browser


def test_the_console_is_silent_and_nothing_was_fetched(page):
    page.refresh()
    assert page.get_log("browser") == []
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []


def test_every_plot_has_a_size(page):
    sizes = page.execute_script(
        "return [...document.querySelectorAll('svg.plot')].filter(plot => plot.checkVisibility())"
        ".map(plot => plot.getBoundingClientRect()).map(box => [box.width, box.height])"
    )
    assert sizes
    assert all(width > 20 and height > 5 for width, height in sizes)


@pytest.mark.parametrize("width", [320, 390, 820, 1280])
def test_no_width_needs_sideways_scrolling(page, width):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_told_from_its_ground(page, scheme):
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    try:
        assert page.execute_script(UNREADABLE) == []
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
