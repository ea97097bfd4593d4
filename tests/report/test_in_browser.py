"""Reports in Debian's chromium: nothing is asked for, legends hide, points tell, by pointer and by keyboard."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeprec_env.report.report import write_report
from tests.conftest import day_scenario
from tests.recpipe.spaces import space, stage
from tests.report.test_report import made
from tests.test_cli import call

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")

WIDTHS = (1280, 390)

CONTRAST = """() => {
  const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const found = rgb(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  let least = 21;
  for (const node of document.querySelectorAll('main *')) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    if (!own || node.closest('title,desc,style,script')) continue;
    const style = getComputedStyle(node);
    const front = rgb(node.ownerSVGElement ? style.fill : style.color);
    const [a, b] = [light(front), light(behind(node))];
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
}"""
"""The least contrast of a text with what is behind it."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def evaluation(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    options = ("--policies", "static,random", "--seeds", 2, "--queries", 1500)
    path = made(capsys, folder / "compared.json", "evaluate", folder / "node.yaml", *options)
    return path, f"static: {json.loads(path.read_text())['policies']['static']['p95_hourly_ms']!r}"


def capacity_map(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    ladders = ("--set", "control.batch_sizes=[25, 64]", "--set", "control.thresholds=[300, null]")
    swept = ("capacity", folder / "node.yaml", "--sweep", "--queries", 2000, *ladders, "--output", folder / "map")
    path = made(capsys, folder / "map.json", *swept)
    best = json.loads(path.read_text())["best"]
    name = "never offload" if best["threshold"] is None else f"from {best['threshold']} items"
    return path, f"{name}, batch size {best['batch_size']}: {best['qps']!r}"


def pipelines(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    config = folder / "space.yaml"
    config.write_text(yaml.safe_dump(space([stage(["dim_4", "dim_16"], [512, 1024], ["cpu"])])), encoding="utf-8")
    path = made(capsys, folder / "swept.json", "pipeline", "sweep", config, "--output", folder / "sweep")
    front = next(front["front"] for front in json.loads(path.read_text())["fronts"] if front["front"])
    return path, f"p95 ms {front[0]['p95_ms']!r}: {front[0]['quality']!r}"


def training(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    options = ("--timesteps", 192, "--validate-every", 96, "--output", folder / "agent")
    assert call(capsys, "train", "ncf", *options, "--json")[0] == 0
    from deeprec_env.agents.evaluations import read_evaluations

    found = read_evaluations(folder / "agent")
    mean = sum(found.returns[0]) / len(found.returns[0])
    return folder / "agent", f"agent, timesteps {int(found.timesteps[0])}: {mean!r}"


@pytest.mark.parametrize("kind", [evaluation, capacity_map, pipelines, training])
def test_a_report_is_usable(kind: Any, browser: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "node.yaml").write_text(yaml.safe_dump(day_scenario()), encoding="utf-8")
    result, told = kind(tmp_path, capsys)
    write_report([result], tmp_path / "report.html")
    said: list[str] = []
    asked: list[str] = []
    for width in WIDTHS:
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "report.html").as_uri())
        point = page.locator(f".mark[data-told*='{told}']").first
        figure = page.locator("figure").filter(has=point).first
        point.hover(force=True)
        assert told in figure.locator(".told").inner_text()  # the value as it stands in the JSON
        line, button = figure.locator("g[data-series='0']"), figure.locator(".legend button").first
        button.click()
        assert not line.is_visible()
        button.press("Enter")
        assert line.is_visible()
        figure.locator("svg[role=img]").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        marks = figure.locator("g:not(.off) > .mark")
        heard = figure.locator(".told").inner_text()
        assert heard in [marks.nth(number).get_attribute("data-told") for number in range(marks.count())]
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.evaluate(CONTRAST) >= 4.5
        for plot in page.locator("svg[role=img]").all():  # who can't see it is told
            title, description = str(plot.get_attribute("aria-labelledby")).split()
            assert page.locator(f"#{title}").text_content()
            assert page.locator(f"#{description}").text_content()
        page.close()
    assert said == []
    assert all(url.startswith("file:") for url in asked)
