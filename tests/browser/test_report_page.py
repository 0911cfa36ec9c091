"""The report page in headless Chromium: clicked through, at a desk and on a phone, in the dark.

Needs Chromium and its driver (Debian: chromium, chromium-driver); without them every test here
is skipped and says so.
"""

import base64
import functools
import http.server
import json
import shutil
import threading
from pathlib import Path

import pytest
import toy_study

from aimc_sim.pages import material, page
from aimc_sim.studies import attribute, inputs, pools, schema, sweep

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="no Chromium here (Debian: apt-get install chromium chromium-driver)",
)
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)

OPEN = "for (const part of document.querySelectorAll('details')) part.open = true"
WIDE = """
const edge = document.documentElement.clientWidth + 1;
return [...document.querySelectorAll("main *")]
  .filter((e) => !e.closest(".scroll, pre, svg, .unseen"))
  .filter((e) => e.getBoundingClientRect().right > edge).map((e) => e.outerHTML.slice(0, 80));
"""
FOREIGN = """
const image = new Image(), script = document.createElement("script");
image.src = "/x.png";
script.textContent = "window.bad = 1";
document.body.append(image, script);
"""
REACHED = """
return [...document.querySelectorAll("a[href], button, summary, [tabindex='0']")]
  .filter((e) => e.checkVisibility()).length
"""
UNNAMED = """
return [...document.querySelectorAll("a, button, summary, [tabindex]:not(main), svg[role]")]
  .filter((e) => !(e.getAttribute("aria-label") || e.textContent).trim()).length
"""
SMALLEST = """
return Math.min(...[...document.querySelectorAll("figure svg text")]
  .filter((e) => e.getBoundingClientRect().width)
  .map((e) => parseFloat(getComputedStyle(e).fontSize) * e.ownerSVGElement.getScreenCTM().a))
"""
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with two reports, served on loopback; requests are kept."""
    root = tmp_path_factory.mktemp("site")
    for name, study in (
        ("study", schema.make_study(toy_study.STUDY)),
        ("where", attribute.make(
            schema.make_study({**toy_study.STUDY, "grid": {}, "times": "1 d", "programmings": 2}))),
    ):  # fmt: skip
        given = inputs.gather(study)
        sweep.sweep(study, given, pools.InProcess(given, 1), root / name)
        page.write(page.gather(material.read(root / name)), root / f"{name}.html")
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, form, *arguments):
            asked.append(arguments[0])

    handler = functools.partial(Handler, directory=root)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked, root
    server.shutdown()
    server.server_close()


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def look(browser, url, width=1200, dark=False):
    """Open a page at a width and with a preference of the system."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    still = {"name": "prefers-reduced-motion", "value": "reduce"}  # clicks do not chase the page
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})
    browser.get(url)


def requests(browser, page_url):
    """Return the addresses that a page asked for; the browser's own pages are not counted."""
    found = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            if message["params"]["documentURL"].startswith(page_url):
                found.append(message["params"]["request"]["url"])
    return found


def tip(browser):
    box = browser.find_element(By.ID, "tip")
    return box.text if box.is_displayed() else ""


def table(browser, section):
    return browser.find_element(By.CSS_SELECTOR, f"#{section} table")


def column(part, number):
    return [row.find_elements(By.CSS_SELECTOR, "th, td")[number].get_attribute("data-key")
            for row in part.find_elements(By.CSS_SELECTOR, "tbody tr")]  # fmt: skip


@pytest.mark.parametrize("name", ["study", "where"])
def test_nothing_leaves_the_page_and_the_console_is_silent(browser, site, name):
    url, asked, root = site
    asked.clear()
    look(browser, f"{url}/{name}.html")
    for button in browser.find_elements(By.TAG_NAME, "button"):
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()
    assert browser.get_log("browser") == []
    sent = requests(browser, url)
    assert {r for r in sent if not r.startswith("data:")} == {f"{url}/{name}.html"}
    assert [line.split()[1] for line in asked] == [f"/{name}.html"]
    look(browser, (root / f"{name}.html").as_uri())  # as a file, offline
    browser.find_element(By.ID, "theme").click()
    assert browser.get_log("browser") == []
    assert len(browser.find_elements(By.CSS_SELECTOR, "figure svg")) >= 5


def test_the_policy_stops_what_is_not_ours(browser, site):
    """The page could not load anything if it tried: the check above is able to fail."""
    look(browser, f"{site[0]}/study.html")
    browser.execute_script(FOREIGN)
    assert "Content Security Policy" in "".join(e["message"] for e in browser.get_log("browser"))
    assert browser.execute_script("return window.bad") is None


def test_tables_sort_by_value_both_ways(browser, site):
    look(browser, f"{site[0]}/study.html")
    part = table(browser, "accuracy")
    head = part.find_elements(By.CSS_SELECTOR, "thead th")[3]
    before = [float(key) for key in column(part, 3)]
    assert before != sorted(before)
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(key) for key in column(part, 3)] == sorted(before)
    head.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(key) for key in column(part, 3)] == sorted(before, reverse=True)
    part.find_elements(By.CSS_SELECTOR, "thead button")[2].click()  # 1 h is more than now
    assert column(part, 2) == ["0.0"] * 4 + ["3600.0"] * 4
    assert len(part.find_elements(By.CSS_SELECTOR, "[aria-sort]")) == 1


def test_values_show_at_the_pointer_and_with_the_keyboard(browser, site):
    look(browser, f"{site[0]}/study.html")
    area = browser.find_element(By.CSS_SELECTOR, "#accuracy .wide")
    now, hour = area.find_elements(By.CSS_SELECTOR, "g.value")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", area)
    assert tip(browser) == ""
    ActionChains(browser).move_to_element(hour).pause(0.3).move_by_offset(1, 1).perform()
    later = tip(browser)
    first, *lines = later.splitlines()
    assert first == "1 h (%)"
    assert lines.pop() == "in floating point: 100.0"
    assert len(lines) == 4
    head = table(browser, "accuracy").find_elements(By.CSS_SELECTOR, "tbody tr")
    cells = [[c.text for c in row.find_elements(By.CSS_SELECTOR, "th, td")] for row in head]
    wanted = {f"{c[0]}, {c[1]}: {c[3]}" for c in cells if c[2] == "1 h"}
    assert set(lines) == wanted
    assert not area.find_elements(By.CSS_SELECTOR, "title")  # no second tip by the browser
    ActionChains(browser).move_to_element(browser.find_element(By.TAG_NAME, "h1")).perform()
    assert tip(browser) == ""
    # By keyboard: tab from the figure's scrolled area into it.
    browser.execute_script("arguments[0].focus()", area)
    browser.switch_to.active_element.send_keys(Keys.TAB)
    focused = browser.switch_to.active_element
    assert focused == now
    assert tip(browser).startswith("now (%)")
    focused.send_keys(Keys.ARROW_RIGHT)
    assert tip(browser) == later
    assert browser.find_element(By.ID, "live").get_attribute("textContent") == later
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert tip(browser) == ""


def test_without_scripts_values_are_titles(browser, site):
    look(browser, f"{site[0]}/study.html")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.refresh()
    marks = browser.find_elements(By.CSS_SELECTOR, "#chip g.value > title")
    assert len(marks) == 64


def test_figures_are_one_tab_stop_with_arrow_keys(browser, site):
    look(browser, f"{site[0]}/study.html")
    svg = browser.find_element(By.CSS_SELECTOR, "[data-name=floorplan] svg")
    assert len(svg.find_elements(By.CSS_SELECTOR, "[tabindex='0']")) == 1
    browser.execute_script("arguments[0].parentElement.focus()", svg)
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert tip(browser).startswith("core 0:")
    for core in (1, 2):
        browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
        assert tip(browser).startswith(f"core {core}:")
    browser.switch_to.active_element.send_keys(Keys.END)
    assert tip(browser) == "core 63: empty"
    assert len(svg.find_elements(By.CSS_SELECTOR, "[tabindex='0']")) == 1
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert tip(browser) == ""
    bar = browser.find_element(By.CSS_SELECTOR, "[data-name=pipeline] [role=img]")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", bar)
    ActionChains(browser).move_to_element(bar).pause(0.2).move_by_offset(1, 1).perform()
    assert "first MVM at" in tip(browser)


@pytest.mark.parametrize("dark", [False, True])
def test_the_theme_follows_the_system_and_the_button(browser, site, dark):
    look(browser, f"{site[0]}/study.html", dark=dark)

    def back():
        return browser.execute_script("return getComputedStyle(document.body).backgroundColor")

    first, button = back(), browser.find_element(By.ID, "theme")
    assert (first == "rgb(255, 255, 255)") is not dark
    assert button.text == ("Light theme" if dark else "Dark theme")
    button.click()
    assert back() != first
    browser.refresh()  # kept
    assert back() != first
    browser.find_element(By.ID, "theme").click()
    assert back() == first


@pytest.mark.parametrize("name", ["study", "where"])
@pytest.mark.parametrize("dark", [False, True])
def test_every_text_has_contrast(browser, site, name, dark):
    look(browser, f"{site[0]}/{name}.html", dark=dark)
    browser.execute_script(
        "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
    )
    plot = browser.find_element(By.CSS_SELECTOR, ".wide g.value")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    pointer = ActionChains(browser).move_to_element(plot).pause(0.3)
    pointer.move_by_offset(1, 1).perform()  # the tip too
    assert tip(browser)
    found = browser.execute_script(CONTRAST)
    assert len(found) > 500
    poor = [entry for entry in found if entry[0] < 4.5]
    assert poor == []
    browser.execute_script("document.documentElement.style.setProperty('--soft', '#888')")
    assert [entry for entry in browser.execute_script(CONTRAST) if entry[0] < 4.5]  # can fail


@pytest.mark.parametrize("name", ["study", "where"])
def test_a_phone_scrolls_the_page_down_only(browser, site, name):
    look(browser, f"{site[0]}/{name}.html", width=360)
    browser.execute_script(
        "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
    )
    root = "document.documentElement"
    assert browser.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth")
    wide = browser.execute_script(WIDE)
    assert wide == []
    inside = browser.find_elements(By.CSS_SELECTOR, ".scroll")
    over = "return arguments[0].scrollWidth > arguments[0].clientWidth"
    assert any(browser.execute_script(over, e) for e in inside)
    assert all(e.get_attribute("tabindex") == "0" for e in inside)  # scrolled by keyboard
    widths = browser.execute_script(
        "return [...document.querySelectorAll('.narrow svg, .wide svg')].map("
        "(s) => s.getBoundingClientRect().width)"
    )
    charts = [width for width in widths if width]
    assert len(charts) == len(widths) / 2 >= 2  # one of each pair
    assert all(250 < width <= 360 for width in charts)
    small = browser.execute_script(SMALLEST)
    assert small >= 7.5


HINTS = """
return [...document.querySelectorAll(".scroll")].filter((e) => e.clientWidth).map((e) => {
  const hint = e.previousElementSibling;
  const over = e.scrollWidth > e.clientWidth + 2 || e.scrollHeight > e.clientHeight + 2;
  return [over, hint.className.startsWith("hint") && hint.checkVisibility(), hint.textContent,
    e.classList.contains("right"), e.scrollWidth > e.clientWidth + 2];
})
"""


@pytest.mark.parametrize("name", ["study", "where"])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_hint_stands_above_exactly_the_scrolled(browser, site, name, width):
    look(browser, f"{site[0]}/{name}.html", width=width)
    browser.execute_script(OPEN)
    WebDriverWait(browser, 5).until(
        lambda b: all(over == hint for over, hint, *_ in b.execute_script(HINTS))
    )
    found = browser.execute_script(HINTS)
    assert len(found) > 8
    for over, _, text, right, wide in found:
        assert right == wide  # a shadow where there is more at the right
        if over:
            assert text.startswith("scroll ")
            assert ("columns" in text or "sideways" in text) == wide or "of the figure" in text
    if width == 360:
        assert sum(over for over, *_ in found) >= 3
        area = next(e for e in browser.find_elements(By.CSS_SELECTOR, ".scroll.right"))
        browser.execute_script("arguments[0].scrollLeft = 1e6", area)
        WebDriverWait(browser, 5).until(lambda b: "right" not in area.get_attribute("class"))
        assert "left" in area.get_attribute("class").split()
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("name", ["study", "where"])
def test_a_phone_shows_the_loss_without_scrolling_sideways(browser, site, name):
    look(browser, f"{site[0]}/{name}.html", width=360, dark=True)
    first = browser.find_element(By.CSS_SELECTOR, "#headline .scroll")
    assert "lost" in first.text
    assert browser.execute_script(
        "return arguments[0].scrollWidth <= arguments[0].clientWidth", first
    )
    answer = browser.find_element(By.CSS_SELECTOR, ".answer")
    assert "in floating point" in answer.text
    assert answer.location["y"] < 800
    for caption in browser.find_elements(By.CSS_SELECTOR, "caption span"):
        box = browser.execute_script("return arguments[0].getBoundingClientRect().right", caption)
        assert box <= 361


PRINTED = """
const page = document.documentElement.clientWidth + 1;
return [...document.querySelectorAll("main *")].filter((e) => e.checkVisibility())
  .filter((e) => !e.closest(".unseen, .figure svg *"))
  .filter((e) => e.getBoundingClientRect().right > page).map((e) => e.outerHTML.slice(0, 90));
"""


@pytest.mark.parametrize("name", ["study", "where"])
def test_nothing_is_cut_off_on_paper(browser, site, name):
    """At the width of A4 between the page's margins (182 mm), in print: all columns are there."""
    look(browser, f"{site[0]}/{name}.html", width=int(182 / 25.4 * 96), dark=True)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script(PRINTED) == []
    hidden = browser.execute_script(
        "return [...document.querySelectorAll('.hint, nav')].filter((e) => e.checkVisibility())"
    )
    assert hidden == []
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert base64.b64decode(printed["data"])[:5] == b"%PDF-"


def test_every_control_has_a_name_and_is_reached_by_tab(browser, site):
    look(browser, f"{site[0]}/study.html")
    wanted = browser.execute_script(REACHED)
    unnamed = browser.execute_script(UNNAMED)
    assert unnamed == 0
    seen = set()
    for _ in range(wanted):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        seen.add(browser.switch_to.active_element.id)
    assert len(seen) == wanted


def test_print_opens_everything_and_hides_the_controls(browser, site):
    look(browser, f"{site[0]}/study.html", dark=True)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert not browser.find_element(By.ID, "theme").is_displayed()
    back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert back == "rgb(255, 255, 255)"
    closed = browser.execute_script(
        "return document.querySelectorAll('details:not([open])').length"
    )
    assert closed == 0
