"""The pages that people write: copied into the site's sources, and their place in its navigation."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FROM_ROOT = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages of the repository's root, and their names on the site."""

TUTORIALS = (
    "first-simulation",
    "own-scheduler",
    "train-and-judge",
    "your-hardware",
    "fleet",
    "simulation-to-service",
)
"""In the order of reading; further ones come behind them."""

SECTIONS: dict[str, tuple[str, ...]] = {
    "Start here": ("index.md",),
    "Tutorials": ("tutorials/*.md",),
    "Environments": (
        "environments.md",
        "environments/*.md",
        "serving-v2.md",
        "capacity-env.md",
        "pipeline-env.md",
        "fleet-env.md",
    ),
    "Policies": ("policies.md", "generalist.md", "specialists.md", "champions.md"),
    "Commands": ("command-line.md", "commands/*.md"),
    "How to": (
        "scenario-files.md",
        "timelines.md",
        "reports.md",
        "controllers.md",
        "controls.md",
        "agents.md",
        "live.md",
        "service.md",
        "fleet.md",
        "cluster.md",
        "pipelines.md",
        "quality.md",
        "extending.md",
        "contributing.md",
    ),
    "The node": ("rules.md", "engines.md", "measured.md"),
    "API": ("reference/index.md", "reference/*.md"),
    "Results": (
        "figures.md",
        "leaderboard.md",
        "champions-table.md",
        "study.md",
        "paper.md",
        "deeprecsys.md",
        "characterisation.md",
        "pipeline-sweep.md",
        "rpaccel.md",
        "changelog.md",
    ),
}
"""What stands where in the navigation: pages, and folders of them. A page that is in none is a how-to."""

_LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)]*)?\))")
_NAMED = re.compile(r"\[(?:[\w-]+/)*[\w-]+\.md\]\((?P<target>[^)#:\s]+\.md)")


def copy_pages(source: Path) -> None:
    """Copy the documentation, and the pages of the repository's root, into the site's sources; links follow."""
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("site", "__pycache__", "*.py"))
    for name, page in FROM_ROOT.items():
        shutil.copy(ROOT / name, source / page)
    shutil.copytree(DOCS / "site" / "assets", source / "assets")
    for path in source.rglob("*.md"):
        text = _NAMED.sub(partial(_titled, page=path, source=source), path.read_text(encoding="utf-8"))
        path.write_text(_LINK.sub(partial(_followed, page=path, source=source), text), encoding="utf-8")


def _titled(link: re.Match[str], page: Path, source: Path) -> str:
    """A link whose text is a page's file name, with the page's title for it: on the site there are no such files."""
    name = page.relative_to(source).as_posix()
    wanted = ((ROOT if name in FROM_ROOT.values() else (DOCS / name).parent) / link["target"]).resolve()
    return f"[{heading(wanted)}]({link['target']}" if wanted.is_file() else link[0]


def _followed(link: re.Match[str], page: Path, source: Path) -> str:
    """A link of a copied page, to where its target is now; files of the repository beside `docs` come with it."""
    before, target, after = link.groups()
    name = page.relative_to(source).as_posix()
    home = ROOT if name in FROM_ROOT.values() else (DOCS / name).parent
    wanted = (home / target).resolve()
    if wanted.is_relative_to(DOCS):
        new = source / wanted.relative_to(DOCS)
    elif wanted.parent == ROOT and wanted.name in FROM_ROOT:
        new = source / FROM_ROOT[wanted.name]
    elif wanted.is_relative_to(ROOT) and wanted.is_file():
        new = source / "files" / wanted.relative_to(ROOT)
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(wanted, new)
    else:
        return link[0]  # Zensical will say that it leads nowhere
    up = "../" * name.count("/")
    return f"{before}{up}{new.relative_to(source).as_posix()}{after}"


def rebased(text: str, up: str) -> str:
    """Text of a page in the site's root, for a page whose way there is `up`."""
    return _LINK.sub(lambda found: f"{found[1]}{up}{found[2]}{found[3]}", text)


def heading(page: Path) -> str:
    """The title of a page: its first heading."""
    found = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return found[1] if found else page.stem


def navigation(source: Path) -> list[dict[str, Any]]:
    """The navigation as Zensical takes it: sections of pages, each page once, none left out."""
    pages = {path.relative_to(source).as_posix() for path in source.rglob("*.md")}
    found: dict[str, list[str]] = {}
    for section, patterns in SECTIONS.items():
        found[section] = []
        for pattern in patterns:
            matching = sorted((page for page in pages if Path(page).match(pattern)), key=_by_reading)
            matching = [page for page in matching if page.count("/") == pattern.count("/")]
            found[section] += matching
            pages.difference_update(matching)
    found["How to"] += sorted(pages)
    return [{section: listed} for section, listed in found.items() if listed]


def _by_reading(page: str) -> tuple[int, str]:
    """Tutorials in their order, other pages by name."""
    stem = Path(page).stem
    known = page.startswith("tutorials/") and stem in TUTORIALS
    return (TUTORIALS.index(stem) if known else len(TUTORIALS), page)
