"""Links of a built site: each leads to a file, and to a place in it, and nothing is loaded from elsewhere."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {"src", "srcset", "poster", "data"}
"""Attributes whose target is loaded with the page; so is that of `href`, but for those of `a`."""


class _Page(HTMLParser):
    """What a page links to, what it loads, and the places in it that others may link to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.linked: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.places.add(value)
            elif name == "href" and tag == "a":
                self.linked.append(value)
            elif name in _LOADED or (name == "href" and tag == "link"):
                self.loaded.append(value)


def page_names(site: Path) -> list[str]:
    """The pages of a site, by their paths in it."""
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


def problems(site: Path) -> list[str]:
    """What is wrong, a line each: page, target, reason. The page for what is not found is served anywhere: left out."""
    pages = {name: _Page((site / name).read_text(encoding="utf-8")) for name in page_names(site)}
    pages.pop("404.html", None)
    found = []
    for name, page in pages.items():
        for target in dict.fromkeys(page.loaded + page.linked):
            reason = _reason(site, pages, name, target, target in page.loaded)
            if reason:
                found.append(f"{name}: {target}: {reason}")
    return found


def _reason(site: Path, pages: dict[str, _Page], name: str, target: str, loaded: bool) -> str | None:
    """Why a target of a page will not do; None if it does."""
    parts = urlsplit(target)
    if parts.scheme == "data":
        return None
    if parts.scheme or parts.netloc:
        return "is loaded from elsewhere" if loaded else None
    if parts.path.startswith("/"):
        return "is absolute: it leads elsewhere where the site is not at the root"
    path = (site / name).parent / unquote(parts.path) if parts.path else site / name
    if path.is_dir():
        path = path / "index.html"
    if not path.is_file():
        return "is not there"
    linked = pages.get(Path(path).resolve().relative_to(site.resolve()).as_posix())
    if parts.fragment and linked is not None and unquote(parts.fragment) not in linked.places:
        return "has no such place"
    return None
