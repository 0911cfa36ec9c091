"""The notebooks as HTML in headless Chromium: at a desk and on a phone, light and dark.

Needs nbconvert (extra ``notebook``), Chromium and its driver; without them every test here is
skipped and says so.
"""

import importlib.util
from pathlib import Path

import pytest
from tools import notebooks

_SPEC = importlib.util.spec_from_file_location(
    "report_in_a_browser", Path(__file__).parent / "test_report_page.py"
)
pytest.importorskip("nbconvert", reason="nbconvert is not installed")
report = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(report)
browser = report.browser  # the fixture
pytestmark = report.pytestmark

NAMES = [path.stem for path in notebooks.names()]
BEYOND = """
const edge = document.documentElement.clientWidth + 1;
return [...document.querySelectorAll("main *")]
  .filter((e) => !e.closest(".scroll, pre, .highlight, .jp-RenderedText, table, style"))
  .filter((e) => e.getBoundingClientRect().right > edge).map((e) => e.outerHTML.slice(0, 80));
"""
TWICE = """
const all = [...document.querySelectorAll(".jp-OutputArea [id]")].map((e) => e.id);
return all.filter((id, place) => all.indexOf(id) !== place);
"""
INKS = """
const shade = (text) => {
  const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
  return {light: (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255, a};
};
const under = (e) => {
  for (; e; e = e.parentElement) {
    const found = shade(getComputedStyle(e).backgroundColor);
    if (found.a > 0.5) return found.light;
  }
  return 1;
};
return [...document.querySelectorAll(".aimc-sim :is(td, th, p, summary, li)")]
  .filter((e) => e.checkVisibility())
  .map((e) => Math.abs(shade(getComputedStyle(e).color).light - under(e)));
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The committed notebooks as HTML files, by name and theme."""
    folder = tmp_path_factory.mktemp("notebooks")
    made = {}
    for name in NAMES:
        for theme in ("light", "dark"):
            made[name, theme] = folder / f"{name}-{theme}.html"
            text = notebooks.html(notebooks.FOLDER / f"{name}.ipynb", theme)
            made[name, theme].write_text(text, encoding="utf-8")
    return made


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_can_be_read(browser, pages, name, theme, width):
    """No console errors, nothing from elsewhere, no clash of identities, nothing cut off."""
    url = pages[name, theme].as_uri()
    report.look(browser, url, width=width, dark=theme == "dark")
    browser.execute_script(report.OPEN)
    assert browser.get_log("browser") == []
    sent = {address for address in report.requests(browser, url) if address[:5] != "data:"}
    assert sent == {url}
    assert browser.execute_script(TWICE) == []
    assert browser.execute_script(BEYOND) == []
    root = "document.documentElement"
    assert browser.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth")
    inks = browser.execute_script(INKS)
    assert len(inks) > 20
    assert min(inks) > 0.5  # light on dark or dark on light, everywhere
    back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    light = sum(int(part) for part in back.strip("rgba()").split(",")[:3]) > 380
    assert light is (theme == "light")


def test_parts_fold_by_mouse_and_pictures_have_words(browser, pages):
    report.look(browser, pages["first_chip", "light"].as_uri())
    part = browser.find_element("css selector", ".aimc-sim details:not([open])")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", part)
    before = part.size["height"]
    part.find_element("tag name", "summary").click()
    assert part.size["height"] > before
    pictures = browser.find_elements("css selector", ".jp-OutputArea img")
    assert len(pictures) >= 3
    assert all(picture.get_attribute("alt").startswith("Figure.") for picture in pictures)
    sizes = [picture.size["width"] for picture in pictures]
    assert all(300 < width <= 900 for width in sizes)


def test_wide_tables_scroll_in_their_own_box(browser, pages):
    report.look(browser, pages["my_device_data", "light"].as_uri(), width=360)
    browser.execute_script(report.OPEN)
    over = "return arguments[0].scrollWidth > arguments[0].clientWidth"
    boxes = browser.find_elements("css selector", ".aimc-sim .scroll")
    assert any(browser.execute_script(over, box) for box in boxes)
