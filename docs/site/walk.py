"""The site in a browser, page by page: python -m docs.site.walk [FOLDER]. Needs Playwright and chromium.

Follows every link from the start; looks for links that lead nowhere, pages that no link leads to, and what pages say to
the console or load from elsewhere. Asks the search, too, also where the pages are opened as files.
"""

from __future__ import annotations

import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urldefrag

import typer

from deeprec_env import console
from deeprec_env.errors import InputError
from deeprec_env.progress import Progress, Step, silent
from docs.site.links import page_names

SEARCHED = "offload threshold"
_LINKS = "() => [...document.querySelectorAll('a[href]')].map(link => link.href)"
_PLACES = "() => [...document.querySelectorAll('[id]')].map(each => each.id)"

app = console.application("Walk a built site in a browser.")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # a connection for many requests: fewer that a busy machine may reset

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of requests."""


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # a browser opens many connections at once, which a busy machine may be slow to take

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def served(site: Path) -> Iterator[str]:
    """A folder at an address of this machine, which ends with a slash."""
    handler = functools.partial(_Quiet, directory=str(site))
    with _Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@contextmanager
def chromium() -> Iterator[Any]:
    """This machine's browser; `InputError` where there is none, or no Playwright."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        raise InputError("browser", None, "chromium is not installed")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise InputError("browser", path, "playwright is not installed: pip install playwright") from None
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Walk:
    """A walk through a site at `base`; `problems` holds what was wrong, a line each."""

    def __init__(self, browser: Any, base: str) -> None:
        self.base, self.problems = base, list[str]()
        self._page = browser.new_page(viewport={"width": 1280, "height": 900})
        self._at = base
        self._page.on("console", self._said)
        self._page.on("pageerror", lambda error: self._wrong(f"error: {error}"))
        self._page.on("request", self._asked)
        self._page.on("requestfailed", self._failed)

    def all_pages(self, tell: Progress = silent, pages: int = 1) -> set[str]:
        """Follow every link from the start; returns the pages met, by their names. `pages`: how many may be told of."""
        begin = f"{self.base}index.html"
        places: dict[str, set[str]] = {}
        linked: dict[str, str] = {begin: "the start"}  # an address with its place, and the first page that links there
        waiting = [begin]
        while waiting:
            self._at = address = waiting.pop()
            tell(Step(address.removeprefix(self.base), len(places) / pages))
            answer = self._page.goto(address)
            if answer is not None and answer.status >= 400:
                places[address] = set()
                self._wrong(f"status {answer.status}; {linked[address]} links there")
                continue
            places[address] = set(self._page.evaluate(_PLACES))
            for target in self._page.evaluate(_LINKS):
                page = urldefrag(target).url
                if not page.startswith(self.base) or target in linked:
                    continue
                linked[target] = address
                if not page.endswith((".html", "/")):
                    self._looked_up(page, address)
                elif page not in places and page not in waiting:
                    waiting.append(page)
                    linked.setdefault(page, address)
        for target, source in linked.items():
            page, place = urldefrag(target)
            if place and page in places and unquote(place) not in places[page]:
                self.problems.append(f"{source.removeprefix(self.base)}: {target}: has no such place")
        return {address.removeprefix(self.base) for address in places}

    def search(self, words: str) -> list[str]:
        """Type words into the search of the start page, as a reader would, and follow the first answer; all titles."""
        from playwright.sync_api import TimeoutError

        self._at = f"{self.base}index.html"
        self._page.goto(self._at)
        try:
            self._page.get_by_role("button", name="Search").first.click()
            self._page.get_by_role("combobox", name="Search").fill(words)
            results = self._page.get_by_role("option")
            results.first.wait_for()
            titles: list[str] = results.locator("h2").all_inner_texts()
            results.first.click()
            self._page.wait_for_url(lambda url: url.partition("?")[0] != self._at)
        except TimeoutError:
            self._wrong(f"search: no answer to {words!r}")
            return []
        return titles

    def _looked_up(self, address: str, source: str) -> None:
        """A link to what is no page."""
        if self._page.request.get(address).status >= 400:
            self.problems.append(f"{source.removeprefix(self.base)}: {address}: is not there")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self._wrong(f"asked for {request.url}")

    def _failed(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # the walk went on before it was there
            self._wrong(f"not loaded: {request.url}: {request.failure}")

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self._wrong(f"console: {message.text}")

    def _wrong(self, what: str) -> None:
        self.problems.append(f"{self._at.removeprefix(self.base)}: {what}")


def walked(browser: Any, site: Path, tell: Progress = silent) -> tuple[int, list[str]]:
    """Walk a built site; how many pages were met, and what was wrong."""
    names = set(page_names(site)) - {"404.html"}
    with served(site) as base:
        walk = Walk(browser, base)
        met = {name or "index.html" for name in walk.all_pages(tell, len(names))}
        walk.problems += [f"{name}: no link leads there" for name in sorted(names - met)]
        found = walk.search(SEARCHED)
    opened = Walk(browser, f"{site.resolve().as_uri()}/")
    if opened.search(SEARCHED) != found:
        opened.problems.append("search: another answer where the pages are opened as files")
    return len(met), walk.problems + opened.problems


@app.command()
def main(site: Annotated[Path, typer.Argument(metavar="FOLDER", help="The built site.")] = Path("runs/site")) -> None:
    """Walk a built site in a browser; exit status 1 and a line for each of what is wrong."""
    if not (site / "index.html").is_file():
        raise InputError("site", str(site), "must be a folder that 'make docs' has left")
    with console.telling("walk", quiet=False) as tell, chromium() as browser:
        pages, problems = walked(browser, site, tell)
    typer.echo(f"{pages} pages, {len(problems)} problems")
    for problem in problems:
        typer.echo(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    console.run(app, "python -m docs.site.walk")
