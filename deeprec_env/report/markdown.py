"""Pages as Markdown, for a pull request: the words and the tables; of plots the values, if they are few."""

from __future__ import annotations

from deeprec_env.report.page import Block, Commands, Line, Page, Plot, Table
from deeprec_env.report.svg import described, ends, named
from deeprec_env.report.words import with_ci
from deeprec_env.shown import markdown_table

MOST_POINTS = 40
"""Points of a plot that are listed; of more it is described in words."""


def markdown_of(page: Page) -> str:
    """A page as Markdown."""
    lines = [f"# {page.title}"]
    for section in page.sections:
        lines += ["", f"## {section.heading}"]
        for block in section.blocks:
            lines += ["", *_block(block)]
    return "\n".join(lines) + "\n"


def _told(plot: Plot, line: Line, point: int) -> str:
    """What a mark says, for a reader: the JSON has all the digits."""
    return f"{named(plot, line, point)}: {with_ci(line.y[point], ends(line, point))}"


def _block(block: Block) -> list[str]:
    if isinstance(block, Table):
        return markdown_table(block.columns, block.rows)
    if isinstance(block, Commands):
        return ["```", *block.lines, "```"]
    if isinstance(block, Plot):
        points = [_told(block, line, point) for line in block.lines for point in range(len(line.x))]
        return [f"**{block.title}.** {described(block)}", *([""] if len(points) <= MOST_POINTS else []),
                *([f"* {point}" for point in points] if len(points) <= MOST_POINTS else [])]  # fmt: skip
    return [block]
