"""The tutorials run as they stand, and what runs them notices what fails."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from docs.site.tutorials import FENCED, TutorialError, executed, write_tutorials

PAGES = sorted((Path(__file__).resolve().parents[1] / "docs/tutorials").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_tutorial_runs_and_shows_what_came(page: Path) -> None:
    for module in ("torch", "stable_baselines3", "uvicorn"):
        pytest.importorskip(module)
    markdown = page.read_text(encoding="utf-8")
    built = executed(markdown, page.name)
    ran = [
        block for block in FENCED.finditer(markdown) if block["language"] in ("bash", "python") and not block["title"]
    ]
    assert len(ran) >= 3
    assert built.count("```text") >= len(ran) - 1  # one may say nothing
    assert "Traceback" not in built
    assert "error:" not in built


def test_outputs_stand_below_their_blocks_and_files_are_written() -> None:
    page = (
        'A\n\n```python title="a.py"\nx = 7\n```\n\nB\n\n```python\nimport a\n\nprint(a.x)\n```\n\n'
        "```bash\nname=me\n```\n\n"
        "```bash\necho $name; echo '/a/b.py:3: DeprecationWarning: old'; echo '  gym.warn('\n"
        "echo oh >&2\n```\n\nC\n\n```json\n{}\n```\n"
    )
    built = executed(page, "page.md")
    assert built == page.replace("print(a.x)\n```\n", "print(a.x)\n```\n\n```text\n7\n```\n").replace(
        "echo oh >&2\n```\n", "echo oh >&2\n```\n\n```text\nme\noh\n```\n"
    )


@pytest.mark.parametrize(
    ("failing", "said"),
    [("```bash\nls\nls no-such-file\n```\n", "no-such-file"), ("```python\n1 / 0\n```\n", "ZeroDiv")],
)
def test_what_fails_fails_the_build(failing: str, said: str) -> None:
    with pytest.raises(TutorialError, match=said) as raised:
        executed(f"```bash\necho first\n```\n\n{failing}\n```bash\necho afterwards\n```\n", "page.md")
    assert "page.md: status" in str(raised.value)
    assert "afterwards" not in str(raised.value)


def test_what_a_page_leaves_running_ends_with_it(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    executed(f"```bash\n(sleep 1; touch {alive}) > log &\n```\n", "page.md")
    time.sleep(1.5)
    assert not alive.exists()


def test_the_sites_copies_of_the_tutorials_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "tutorials").mkdir()
    for page in (tmp_path / "tutorials/one.md", tmp_path / "other.md"):
        page.write_text("```bash\necho $((3 * 4))\n```\n", encoding="utf-8")
    write_tutorials(tmp_path)
    assert (tmp_path / "tutorials/one.md").read_text() == "```bash\necho $((3 * 4))\n```\n\n```text\n12\n```\n"
    assert (tmp_path / "other.md").read_text() == "```bash\necho $((3 * 4))\n```\n"
