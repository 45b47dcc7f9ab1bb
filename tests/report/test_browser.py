"""The page in a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from multimodal_dql.report import write_html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs a browser: apt-get install chromium chromium-driver"
    ),
]

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


UNREADABLE = """
const rgb = colour => colour.match(/[\\d.]+/g).map(Number);
const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const weights = [.2126, .7152, .0722];
const light = colour => weights.reduce((sum, w, k) => sum + w * linear(colour[k] / 255), 0);
const ground = element => {
  for (; element; element = element.parentElement) {
    const colour = rgb(getComputedStyle(element).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const found = [];
for (const element of document.querySelectorAll('body *')) {
  const speaks = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  if (!speaks || element.closest('input:disabled + label')) continue;
  const style = getComputedStyle(element);
  const ink = element.namespaceURI.endsWith('svg') ? style.fill : style.color;
  const [a, b] = [light(rgb(ink)), light(ground(element))].sort((x, y) => x - y);
  if ((b + .05) / (a + .05) < 4.5) found.push([element.outerHTML.slice(0, 80), ink, ground(element)]);
}
return found;
"""
"""Lists text whose contrast with its ground is below 4.5 to 1 (WCAG 2), on the colours that the browser computed."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module", params=["en", "zh"])
def page(request, browser, sample, tmp_path_factory) -> object:
    path = Path(tmp_path_factory.mktemp("page")) / "report.html"
    write_html(
        path,
        ranking=sample.ranking,
        catalogue=sample.catalogue,
        comparisons=sample.comparisons,
        control=sample.control,
        training=sample.training,
        lang=request.param,
    )
    browser.get(path.as_uri())
    return browser


def test_every_picture_is_drawn(page):
    widths = page.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert len(widths) == 5 + 3 + 3  # in the lists of the stories, large, and in the list at the head
    assert min(widths) > 0


def test_every_player_knows_its_sound(page):
    from selenium.webdriver.support.ui import WebDriverWait

    state = (
        "return [...document.querySelectorAll('audio')].map(player => [player.readyState, player.duration])"
    )
    WebDriverWait(page, 10).until(lambda driver: all(ready >= 1 for ready, _ in driver.execute_script(state)))
    assert [round(seconds, 2) for _, seconds in page.execute_script(state)] == [10.0, 0.5]


def test_every_plot_has_a_size(page):
    sizes = page.execute_script(
        "return [...document.querySelectorAll('svg.plot')].map(plot => plot.getBoundingClientRect())"
        ".map(box => [box.width, box.height])"
    )
    assert len(sizes) > 20
    assert all(width > 20 and height > 5 for width, height in sizes)


def test_the_console_is_silent_and_nothing_was_fetched(page):
    page.refresh()
    assert page.get_log("browser") == []
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []


def test_the_filter_hides_other_verdicts(page):
    visible = (
        "return [...document.querySelectorAll('article.story')]"
        ".filter(story => story.offsetHeight > 0).map(story => story.dataset.verdict)"
    )
    page.execute_script("document.getElementById('f-lean').click()")
    assert page.execute_script(visible) == ["lean"]
    page.execute_script("document.getElementById('f-all').click()")
    assert len(page.execute_script(visible)) == 4


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


def test_text_can_be_told_from_its_ground_in_light_and_dark(page):
    for scheme in ("light", "dark"):
        page.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        assert page.execute_script(UNREADABLE) == []
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
