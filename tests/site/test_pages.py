from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from docs.site.pages import DOCS, ROOT, SECTIONS, TUTORIALS, copy_pages, heading, navigation, rebased


@pytest.fixture
def source(tmp_path: Path) -> Path:
    copy_pages(tmp_path / "docs")
    return tmp_path / "docs"


def test_every_page_is_in_the_navigation_once(source: Path) -> None:
    listed = [page for section in navigation(source) for pages in section.values() for page in pages]
    assert sorted(listed) == sorted(path.relative_to(source).as_posix() for path in source.rglob("*.md"))
    assert listed[0] == "index.md"


def test_every_page_that_the_sections_name_is_there() -> None:
    named = [name for name in chain(*SECTIONS.values()) if "/" not in name]
    assert [name for name in named if not (DOCS / name).is_file()] == ["contributing.md", "changelog.md"]


def test_tutorials_come_in_their_order_and_pages_without_a_place_are_how_tos(source: Path) -> None:
    (source / "tutorials").mkdir(exist_ok=True)
    for name in (*sorted(TUTORIALS), "another"):
        (source / "tutorials" / f"{name}.md").write_text("# A title\n")
    (source / "new.md").write_text("# New\n")
    sections = {name: pages for section in navigation(source) for name, pages in section.items()}
    assert list(sections) == [name for name in SECTIONS if name != "API"]  # whose pages are made
    assert sections["Tutorials"] == [f"tutorials/{name}.md" for name in (*TUTORIALS, "another")]
    assert sections["How to"][-1] == "new.md"


def test_links_follow_what_they_name(source: Path) -> None:
    text = (source / "index.md").read_text(encoding="utf-8")
    assert "(../CONTRIBUTING.md#your-hardware)" in (DOCS / "index.md").read_text(encoding="utf-8")
    assert "(contributing.md#your-hardware)" in text
    assert "](docs/extending.md)" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "](extending.md)" in (source / "contributing.md").read_text(encoding="utf-8")
    assert not (source / "site").exists()


def test_a_link_that_is_called_by_a_file_is_called_by_its_title_on_the_site(source: Path) -> None:
    assert "[rules.md](rules.md)" in (DOCS / "index.md").read_text(encoding="utf-8")
    assert f"[{heading(DOCS / 'rules.md')}](rules.md)" in (source / "index.md").read_text(encoding="utf-8")
    texts = (path.read_text(encoding="utf-8") for path in source.glob("*.md"))
    assert [text for text in texts if ".md](" in text] == []


def test_text_may_stand_in_a_folder() -> None:
    assert rebased("[a](b.md#c) [d](https://e.org) ![f](g.png) [h](#i)", "../") == (
        "[a](../b.md#c) [d](https://e.org) ![f](../g.png) [h](#i)"
    )
