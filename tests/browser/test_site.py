"""The documentation site in headless Chromium: every page, two widths, both colour schemes.

Needs the built site (``.ci/site`` builds it into ``site/``), Chromium and its driver (Debian:
chromium, chromium-driver); without one of them every test here is skipped and says which.
"""

import functools
import http.server
import shutil
import threading
from pathlib import Path

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.common.exceptions import TimeoutException  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SITE = Path(__file__).resolve().parents[2] / "site"
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if "data-md-component" in path.read_text("utf-8")  # a report of a study is none of its pages
)
pytestmark = [
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no Chromium here (Debian: apt-get install chromium chromium-driver)",
    ),
    pytest.mark.skipif(
        "index.html" not in PAGES, reason="the site is not built: .ci/site builds it into site/"
    ),
]
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
WIDTHS = (1280, 360)

OVERFLOW = """
const edge = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth <= edge + 1) return [];
return ["the page scrolls sideways", ...[...document.querySelectorAll("body *")]
  .filter((e) => !e.closest("pre, .md-typeset__scrollwrap, svg, .md-sidebar, .md-search"))
  .filter((e) => e.getBoundingClientRect().right > edge + 1)
  .map((e) => e.outerHTML.slice(0, 80))];
"""
BROKEN = """
return [...document.images].filter((e) => e.complete && !e.naturalWidth).map((e) => e.src)
"""
COLOURS = """
const style = getComputedStyle(document.body);
return [document.body.dataset.mdColorScheme, style.backgroundColor, style.color]
"""


@pytest.fixture(scope="module")
def address():
    """The site, served on loopback; requests are kept."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, form, *arguments):
            pass

    handler = functools.partial(Handler, directory=SITE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def width(browser, pixels):
    size = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def scheme(browser, name):
    """Set the preference of the system, which the site follows."""
    features = [
        {"name": "prefers-color-scheme", "value": name},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def brightness(colour):
    """Mean of the three channels of a computed colour, 0 to 255."""
    numbers = colour[colour.index("(") + 1 :].rstrip(")").split(",")[:3]
    return sum(float(text) for text in numbers) / 3


PARTS = ("pages", "api", "repository")
VIEWS = ((1280, "light"), (1280, "dark"), (360, "dark"), (360, "light"))
"""Widths and colours that written pages are opened in."""
GENERATED = (VIEWS[0], VIEWS[2])
"""Of pages that one template makes, which are long: each width and each scheme once."""


def faults(browser, url, page, views):
    """Open a page once; check it in every view."""
    found = []
    width(browser, views[0][0])
    scheme(browser, views[0][1])
    browser.get(f"{url}/{page}")
    for pixels, name in views:
        width(browser, pixels)
        scheme(browser, name)
        try:  # the page hears of a new preference a moment later
            WebDriverWait(browser, 20, 0.05).until(
                lambda b, dark=name == "dark": b.execute_script(
                    "return (document.body.dataset.mdColorScheme == 'slate') == arguments[0]", dark
                )
            )
        except TimeoutException:
            found.append(f"{page}: not {name} though the system asks for it")
        _, ground, ink = browser.execute_script(COLOURS)
        if (brightness(ground) < brightness(ink)) != (name == "dark"):
            found.append(f"{page}: {ink} on {ground} ({name})")
        wide = browser.execute_script(OVERFLOW)
        found += [f"{page} at {pixels} px: {text}" for text in wide[:3]]
    found += [f"{page}: broken picture {src}" for src in browser.execute_script(BROKEN)]
    return found + [f"{page}: {entry['message']}" for entry in browser.get_log("browser")]


@pytest.mark.parametrize("part", PARTS)
def test_every_page(browser, address, part):
    """No console message, nothing beyond the edge, pictures there, colours as the system asks."""
    mine = [page for page in PAGES if part == (first if (first := page.split("/")[0]) in PARTS
                                               else "pages")]  # fmt: skip
    assert len(mine) > 20
    views = VIEWS if part == "pages" else GENERATED
    found = [fault for page in mine for fault in faults(browser, address, page, views)]
    assert not found


def test_nothing_is_loaded_from_elsewhere(browser, address):
    import json

    browser.get_log("performance")
    for page in ("index.html", "tutorials/first_chip.html", "api/aimc_sim.core.html"):
        browser.get(f"{address}/{page}")
    asked = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            if message["params"]["documentURL"].startswith(address):
                asked.append(message["params"]["request"]["url"])
    assert len(asked) > 5
    assert not [url for url in asked if not url.startswith((address, "data:"))]


@pytest.mark.parametrize(
    ("words", "page"),
    [("retention drift compensation", ""), ("from_model", "api/aimc_sim.runtime.html"),
     ("AdaBS", ""), ("hermes-odp-verify", "presets.html")],
)  # fmt: skip
def test_the_search_finds(browser, address, words, page):
    scheme(browser, "light")
    width(browser, WIDTHS[0])
    browser.get(f"{address}/index.html")
    wait = WebDriverWait(browser, 60)
    field = browser.find_element(By.CSS_SELECTOR, ".md-search__input")
    field.click()
    field.send_keys(words)
    results = wait.until(
        lambda b: b.find_elements(By.CSS_SELECTOR, ".md-search-result__item a[href]")
    )
    hrefs = [result.get_attribute("href") for result in results]
    assert any(page in href for href in hrefs), hrefs
    browser.get(hrefs[0])
    assert browser.find_element(By.TAG_NAME, "h1").is_displayed()
    assert browser.get_log("browser") == []


def test_the_colours_can_be_chosen(browser, address):
    """The button goes from the system's colours to light, to dark, and back."""
    scheme(browser, "light")
    width(browser, WIDTHS[0])
    browser.get(f"{address}/index.html")
    seen = []
    for _ in range(3):
        (button,) = [
            one for one in browser.find_elements(By.CSS_SELECTOR, "label[for^='__palette']")
            if one.is_displayed()
        ]  # fmt: skip
        button.click()
        seen.append(browser.execute_script(COLOURS)[0])
    assert seen == ["default", "slate", "default"]
    browser.execute_script("localStorage.clear()")


def test_the_menu_of_a_phone_leads_to_a_page(browser, address):
    scheme(browser, "light")
    width(browser, WIDTHS[1])
    browser.get(f"{address}/index.html")
    browser.find_element(By.CSS_SELECTOR, "label.md-header__button[for='__drawer']").click()
    wait = WebDriverWait(browser, 20)
    links = wait.until(lambda b: [
        one for one in b.find_elements(By.CSS_SELECTOR, ".md-sidebar--primary label.md-nav__link, "
                                       ".md-sidebar--primary a.md-nav__link") if one.is_displayed()
    ])  # fmt: skip
    assert len(links) >= 5
    browser.get(f"{address}/tutorials/first_chip.html")
    assert "first chip" in browser.find_element(By.TAG_NAME, "h1").text.lower()
    width(browser, WIDTHS[0])
