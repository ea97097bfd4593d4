"""A report from results of one kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deeprec_env.errors import InputError
from deeprec_env.files import check_writable, replacing
from deeprec_env.report import compared, evaluated, fleets, published, recorded, searched, simulated, swept, trained
from deeprec_env.report.html import html_of
from deeprec_env.report.markdown import markdown_of
from deeprec_env.report.page import Commands, Page, Section, Table
from deeprec_env.report.sources import Source, read_sources
from deeprec_env.report.words import in_words

KINDS: dict[str, Callable[[Sequence[Source]], list[Section]]] = {
    "simulate": simulated.sections,
    "simulate of a fleet": fleets.sections,
    "simulate --sweep": swept.sections,
    "live": recorded.sections,
    "evaluate": evaluated.sections,
    "capacity": searched.capacity_sections,
    "capacity --sweep": searched.map_sections,
    "tune": searched.tune_sections,
    "pipeline sweep": searched.pipeline_sections,
    "pipeline headlines": published.headlines_sections,
    "pipeline figure": published.figure_sections,
    "paper": published.paper_sections,
    "fleet paper": published.fleet_sections,
    "train": trained.sections,
}
"""By the kind of a result: the command that made it."""

WRITERS = {".html": html_of, ".md": markdown_of}

LARGEST = 3_000_000
"""Bytes of a page."""


def check_output(path: Path) -> None:
    """Raise `InputError` if no report can be written there; called before anything is read."""
    if path.suffix not in WRITERS:
        raise InputError("output", str(path), f"must be a file named *{', *'.join(WRITERS)}")
    check_writable("output", path)


def write_report(paths: Sequence[Path], output: Path) -> None:
    """Write the report of the results at some paths; `InputError` for what is none, or too much for a page."""
    check_output(output)
    write_page(page_of(read_sources(paths)), output)


def write_page(page: Page, output: Path) -> None:
    """Write a page, if it is not too much for one."""
    text = WRITERS[output.suffix](page)
    if len(text.encode()) > LARGEST:
        raise InputError("output", f"{len(text.encode())} bytes", f"must be at most {LARGEST}: give fewer results")
    with replacing(output) as file:
        file.write(text)


def page_of(sources: Sequence[Source]) -> Page:
    """The page of some results of one kind."""
    kind = sources[0].kind
    if kind not in KINDS:
        raise InputError("what", kind, f"must be a result of {', '.join(KINDS)}")
    try:
        parts = [*KINDS[kind](sources), *compared.sections(sources)]
    except (KeyError, IndexError, TypeError, StopIteration) as error:
        raise InputError("what", sources[0].name, f"must be whole; it lacks {error}") from None
    names = ", ".join(source.name for source in sources)
    return Page(f"deeprec {kind}: {names}", [*_scenarios(sources), *parts, made_section(sources)])


def _scenarios(sources: Sequence[Source]) -> list[Section]:
    """Each scenario once, however many results are of it."""
    found: dict[str, list[str]] = {}
    for source in sources:
        if source.scenario is not None:
            found.setdefault(in_words(source.scenario), []).append(source.name)
    blocks = [words if len(found) == 1 else f"{', '.join(names)}: {words}" for words, names in found.items()]
    return [Section("Scenario", blocks)] if blocks else []


def made_section(sources: Sequence[Source]) -> Section:
    """The commands that made the results, versions and digests."""
    lines = [line for source in sources if (line := source.question.get("line"))]
    rows = []
    for source in sources:
        asked, versions = source.question, source.payload.get("versions", {})
        rows += [
            [f"{source.name}: {name}", str(value)]
            for name, value in (
                *((f"version of {package}", version) for package, version in versions.items()),
                ("seed", asked.get("seed")),
                ("split", asked.get("split")),
                ("engine", asked.get("engine")),
                ("sources", asked.get("sources")),
                ("traffic, SHA-256", _digests(source.payload.get("streams_sha256"))),
                *((f"file {name}, SHA-256", digest) for name, digest in asked.get("files", {}).items()),
            )
            if value not in (None, "", {})
        ]
    return Section("How it was made", [*([Commands(lines)] if lines else []), Table(["", "value"], rows)])


def _digests(found: object) -> object:
    """Of one run, or the first of several."""
    if isinstance(found, dict):
        found = next(iter(found.values()), None)
    return f"{found[0]} and {len(found) - 1} more" if isinstance(found, list) and len(found) > 1 else found
