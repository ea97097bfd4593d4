"""The website builds strictly, and what a reader would miss is there."""

from __future__ import annotations

from pathlib import Path

import pytest

import deeprec_env
from deeprec_env import InputError
from docs.site import build as building
from docs.site.build import build
from docs.site.links import page_names, problems
from docs.site.pages import DOCS, copy_pages


def test_the_site_builds_without_a_warning_and_every_link_leads_somewhere(site: Path) -> None:
    names = page_names(site)
    written = {path.with_suffix(".html").name for path in DOCS.glob("*.md")}
    assert written <= set(names)
    assert {"contributing.html", "commands/simulate.html", "environments/serving-v1.html"} <= set(names)
    assert problems(site) == []
    assert 'href="./.."' not in (site / "commands" / "simulate.html").read_text(encoding="utf-8")
    assert 'href="/' not in (site / "404.html").read_text(encoding="utf-8")
    assert "unpkg.com" not in (site / "index.html").read_text(encoding="utf-8")


def test_what_can_be_imported_from_the_top_is_documented(site: Path) -> None:
    text = (site / "reference" / "index.html").read_text(encoding="utf-8")
    for name in deeprec_env.__all__:
        if callable(getattr(deeprec_env, name)):
            assert f"deeprec_env.{name}</code></a>" in text or f"deeprec_env.{name}</code></span></a>" in text, name


def test_a_page_with_a_dead_link_is_refused_and_what_was_there_stays(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def copy_a_broken_page(source: Path) -> None:
        copy_pages(source)
        (source / "broken.md").write_text("# Broken\n\n[nowhere](figures.md#no-such-place)\n", encoding="utf-8")

    monkeypatch.setattr(building, "copy_pages", copy_a_broken_page)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("before")
    with pytest.raises(InputError, match="without a warning"):
        build(tmp_path / "site", quick=True)
    assert "anchor does not exist" in capfd.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["site", "index.html"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="must be a site's folder"):
        build(tmp_path, quick=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"
