"""Pages as one HTML file that needs nothing else: no network, no library, a small script for legends and values."""

from __future__ import annotations

from html import escape

from deeprec_env.report.page import Block, Commands, Page, Plot, Table
from deeprec_env.report.svg import mark, named, place_of, svg_of, told

MOST_ROWS = 400
"""Points of a plot that are listed below it."""

_STYLE = """
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;color:#1b1b1b;background:#fff;max-width:62rem;margin:0 auto;padding:1rem}
h1{font-size:1.7rem;line-height:1.25}h2{font-size:1.25rem;margin-top:2.2rem;border-bottom:1px solid #767676}
pre{background:#f3f3f3;padding:.7rem;overflow-x:auto}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #d0d0d0;white-space:nowrap}
th:first-child{text-align:left}thead th{border-bottom:2px solid #767676}
figure{margin:1.2rem 0;position:relative}figcaption{font-weight:600}
svg{width:100%;height:auto;font:13px system-ui,sans-serif}
.grid{stroke:#e2e2e2}.axis{fill:none;stroke:#444}.target{stroke:#444;stroke-dasharray:3 4;stroke-width:1.5}
.mid{text-anchor:middle}.end{text-anchor:end}.off{display:none}.mark{cursor:pointer}.at{stroke:#000;stroke-width:2}
.legend{display:flex;flex-wrap:wrap;gap:.4rem;margin:.4rem 0}
.legend button{font:inherit;font-size:.9rem;color:inherit;background:#fff;border:1px solid #767676;border-radius:4px;
padding:.2rem .6rem;cursor:pointer}
.legend button[aria-pressed=false]{color:#595959;text-decoration:line-through;background:#eee}
.legend svg{width:22px;height:12px;vertical-align:middle}
:focus-visible{outline:3px solid #005a9c;outline-offset:2px}
.told{min-height:1.6em;font-variant-numeric:tabular-nums;font-size:.95rem}
@media(max-width:600px){body{padding:.6rem}svg{font-size:22px}.legend button{padding:.4rem .6rem}}
@media print{.legend button{border:0}details{display:none}}
"""

_SCRIPT = """
for (const figure of document.querySelectorAll('figure')) {
  const told = figure.querySelector('.told'), plot = figure.querySelector('svg[role=img]');
  let at = null;
  const show = mark => {
    if (at) at.classList.remove('at');
    at = mark;
    at.classList.add('at');
    told.textContent = mark.dataset.told;
  };
  const seen = () => [...plot.querySelectorAll('g:not(.off)>.mark')];
  plot.addEventListener('pointermove', event => {
    const near = event.target.closest('.mark');
    if (near) show(near);
  });
  plot.addEventListener('click', event => {
    const near = event.target.closest('.mark');
    if (near) show(near);
  });
  plot.addEventListener('keydown', event => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    const marks = seen();
    if (!marks.length) return;
    const place = marks.indexOf(at);
    show(marks[place < 0 ? 0 : (place + step + marks.length) % marks.length]);
    event.preventDefault();
  });
  for (const button of figure.querySelectorAll('.legend button')) button.addEventListener('click', () => {
    const on = button.getAttribute('aria-pressed') !== 'true';
    button.setAttribute('aria-pressed', on);
    plot.querySelector(`g[data-series="${button.dataset.series}"]`).classList.toggle('off', !on);
  });
}
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def html_of(page: Page) -> str:
    """A page as HTML."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f'<link rel="icon" href="data:,"><title>{escape(page.title)}</title><style>{_STYLE}</style></head>',
        f"<body><main><h1>{escape(page.title)}</h1>",
    ]
    number = 0
    for section in page.sections:
        parts.append(f"<section><h2>{escape(section.heading)}</h2>")
        for block in section.blocks:
            number += 1
            parts.append(_block(block, f"b{number}"))
        parts.append("</section>")
    parts.append(f"</main><script>{_SCRIPT}</script></body></html>")
    return "\n".join(parts) + "\n"


def _block(block: Block, name: str) -> str:
    if isinstance(block, Plot):
        return _figure(block, name)
    if isinstance(block, Table):
        return _table(block, "table")
    if isinstance(block, Commands):
        return f"<pre><code>{escape(chr(10).join(block.lines))}</code></pre>"
    return f"<p>{escape(block)}</p>"


def _figure(plot: Plot, name: str) -> str:
    buttons = "".join(
        f'<button type="button" aria-pressed="true" data-series="{number}">'
        f'<svg viewBox="0 0 22 12" aria-hidden="true">{mark(number, 11, 6)}</svg> {escape(line.name)}</button>'
        for number, line in enumerate(plot.lines)
    )
    listed = [
        (line.name, place_of(plot, line, point), told(plot, line, point).removeprefix(f"{named(plot, line, point)}: "))
        for line in plot.lines
        for point in range(len(line.x))
    ]
    shown = Table((plot.title, plot.x_label, plot.y_label), listed[:MOST_ROWS])
    left = f"<p>... and {len(listed) - MOST_ROWS} more</p>" if len(listed) > MOST_ROWS else ""
    return (
        f"<figure><figcaption>{escape(plot.title)}</figcaption>"
        f'<div class="legend" role="group" aria-label="Lines of {escape(plot.title)}">{buttons}</div>'
        f'{svg_of(plot, name)}<div class="told" aria-live="polite">'
        "A point says its value: with the pointer, or the arrow keys once the plot has the focus.</div>"
        f"<details><summary>The values</summary>{_table(shown, plot.title)}{left}</details></figure>"
    )


def _table(table: Table, label: str) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in table.rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
