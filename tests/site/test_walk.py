"""The website in a browser; skipped, with the reason, where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deeprec_env import InputError
from docs.site.walk import Walk, chromium, served, walked


@pytest.fixture
def browser() -> Iterator[Any]:
    with ExitStack() as opened:
        try:
            found = opened.enter_context(chromium())
        except InputError as missing:
            pytest.skip(str(missing))
        yield found


def test_a_browser_walks_through_the_site(browser: Any, site: Path) -> None:
    pages, wrong = walked(browser, site)
    assert wrong == []
    assert pages > 80


def test_what_is_wrong_is_named(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<a href="other.html#place">a</a><a href="other.html#gone">b</a><a href="gone.html">c</a>'
        '<a href="gone.txt">d</a><link rel="icon" href="data:,">'
    )
    (tmp_path / "other.html").write_text(
        '<p id="place"></p><link rel="icon" href="data:,"><script>console.error("oh")</script>'
        '<script src="http://127.0.0.1:1/elsewhere.js"></script><script>nothing()</script>'
    )
    with served(tmp_path) as base:
        walk = Walk(browser, base)
        assert walk.all_pages() == {"index.html", "other.html", "gone.html"}
    found = "\n".join(walk.problems)
    for wrong in (
        "gone.html: status 404",
        "gone.txt: is not there",
        "other.html#gone: has no such place",
        "other.html: console: oh",
        "other.html: asked for http://127.0.0.1:1/elsewhere.js",
        "other.html: error: nothing is not defined",
    ):
        assert wrong in found
    assert "#place" not in found
