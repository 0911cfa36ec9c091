"""Links of Markdown pages and of a built site: every target is there, nothing leaves the site.

    python tests/tools/links.py              pages of the repository
    python tests/tools/links.py site         the built site, too

Works offline: addresses of other hosts are counted, not opened; pages may link to them and load
nothing from them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.*?)(?: *\{#([\w.-]+)\})?$", re.M)
LOADS = {
    ("img", "src"), ("script", "src"), ("source", "src"), ("iframe", "src"), ("embed", "src"),
    ("link", "href"),
}  # fmt: skip
"""Attributes whose addresses a browser opens by itself."""


def pages() -> list[Path]:
    """Return the pages of the repository."""
    names = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "validation/README.md")
    found = [*(ROOT / name for name in names), ROOT / "device_data" / "README.md"]
    return [*found, *sorted((ROOT / "docs").rglob("*.md"))]


def slug(heading: str) -> str:
    """Return the anchor of a heading."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower().strip()
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", text))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    return {own or slug(words) for words, own in HEADING.findall(FENCE.sub("", text))}


def page_faults(path: Path) -> Iterator[str]:
    """Yield the links of a Markdown page that lead nowhere."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name) if name else path
        if not target.exists():
            yield f"{path.name}: {link} does not exist"
        elif anchor and target.suffix == ".md":
            if anchor not in anchors(target.read_text(encoding="utf-8")):
                yield f"{path.name}: {target.name} has no heading #{anchor}"


class Page(HTMLParser):
    """Anchors, links and loaded addresses of one page of a site."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.anchors: set[str] = set()
        self.links: list[tuple[str, bool]] = []
        self.unnamed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        given = dict(attrs)
        self.anchors |= {given[key] or "" for key in ("id", "name") if key in given}
        for key in ("href", "src"):
            # "canonical" and the like are not opened by a browser
            loaded = (tag, key) in LOADS and given.get("rel") in (None, "stylesheet", "icon")
            if given.get(key):
                self.links.append((given[key] or "", loaded))
        if tag == "img" and not (given.get("alt") or "").strip():
            self.unnamed.append(given.get("src") or "")


def site_faults(site: Path) -> Iterator[str]:
    """Yield links of a built site that lead nowhere, foreign loads, pictures without a text."""
    found = {path.resolve(): Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    if not found:
        yield f"{site}: no pages"
    for path, page in found.items():
        where = path.relative_to(site.resolve())
        yield from (f"{where}: picture {name} has no alternative text" for name in page.unnamed)
        for link, loaded in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("data", "mailto", "javascript"):
                continue
            if parts.scheme or parts.netloc:
                if loaded:
                    yield f"{where}: loads {link}"
                continue
            if parts.path.startswith("/"):  # the page of missing addresses names them whole
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target = target / "index.html"
            if not target.exists():
                yield f"{where}: {link} does not exist"
            elif parts.fragment and target in found:
                anchor = unquote(parts.fragment)
                if anchor not in found[target].anchors and anchor != "__skip":
                    yield f"{where}: {target.name} has no #{anchor}"


def main(sites: list[str]) -> int:
    """Print all faults; 1 if there are any."""
    faults = [fault for path in pages() for fault in page_faults(path)]
    for site in sites:
        faults += site_faults(Path(site))
    print(*faults, f"{len(faults)} faults of links", sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
