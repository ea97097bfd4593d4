from __future__ import annotations

from pathlib import Path

import pytest

from docs.site.links import page_names, problems


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text('<h1 id="top">a</h1><a href="sub/other.html#place">b</a><a href="">c</a>')
    (tmp_path / "sub" / "other.html").write_text(
        '<p id="place"></p><img src="data:image/png;base64,AA"><a href="../index.html">d</a><a href="https://e.org">f</a>'
    )
    return tmp_path


def test_a_site_whose_links_all_lead_somewhere(site: Path) -> None:
    assert page_names(site) == ["index.html", "sub/other.html"]
    assert problems(site) == []


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ('<a href="nowhere.html">', "nowhere.html: is not there"),
        ('<a href="sub/">', "sub/: is not there"),
        ('<a href="sub/other.html#elsewhere">', "sub/other.html#elsewhere: has no such place"),
        ('<a href="#elsewhere">', "#elsewhere: has no such place"),
        ('<a href="/index.html">', "/index.html: is absolute: it leads elsewhere where the site is not at the root"),
        ('<img src="picture.png">', "picture.png: is not there"),
        ('<script src="https://e.org/a.js"></script>', "https://e.org/a.js: is loaded from elsewhere"),
        ('<link rel="stylesheet" href="//e.org/a.css">', "//e.org/a.css: is loaded from elsewhere"),
        ('<source srcset="film-end.webp">', "film-end.webp: is not there"),
    ],
)
def test_what_is_wrong_is_named_with_its_page(site: Path, written: str, reason: str) -> None:
    page = site / "index.html"
    page.write_text(page.read_text() + written)
    assert problems(site) == [f"index.html: {reason}"]
