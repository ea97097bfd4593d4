"""The page in a browser: no errors, nothing from elsewhere, and the figures of /metrics."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deeprec_env.live.service.client import LoadOptions, load
from deeprec_env.live.service.page import PAGE, PAGE_HEADERS
from tests.live.service.running import running


def test_the_page_names_no_other_place() -> None:
    assert set(re.findall(r"https?://[^\"' ]+", PAGE)) == {"http://www.w3.org/2000/svg"}  # a name, which is not loaded
    assert not re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"(?!data:)", PAGE)
    policy = PAGE_HEADERS["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert policy.count("'sha256-") == 2


READ = "found => found.map(each => [each.dataset.metric, each.dataset.value, each.textContent])"
"""Name, value and text of each figure of the page."""


@pytest.fixture
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_a_browser_shows_the_figures_of_metrics(browser: Any, tmp_path: Path) -> None:
    with running(tmp_path, "--model", "empty") as service:
        loading = threading.Thread(target=lambda: load(service.url, LoadOptions(qps=100.0, duration_s=2.0)))
        loading.start()  # Playwright has a loop in this one
        loading.join()
        said: list[str] = []
        asked: list[str] = []
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(service.url)
        page.wait_for_selector("figure svg polyline")
        until_s = time.monotonic() + 30.0
        while True:  # until the seconds of the load are over, and the figures stand still
            figures = page.eval_on_selector_all("[data-metric]", READ)
            metrics = service.metrics()
            shown = {name: (float(value.replace("Infinity", "inf")), text) for name, value, text in figures}
            refused = sum(value for name, value in metrics.items() if name.startswith("deeprec_refused_total"))
            wanted = {name: refused if name == "deeprec_refused_total" else metrics[name] for name in shown}
            found = {name: value for name, (value, _) in shown.items()}
            if found == wanted or time.monotonic() > until_s:
                break
            time.sleep(0.3)
        assert found == wanted
        assert shown["deeprec_answered_total"][1] == f"{metrics['deeprec_answered_total']:,.0f}"
        assert shown["deeprec_target_seconds"][1] == "50.00 ms"
        assert shown["deeprec_threshold"][1] == "never"
        assert page.locator("svg[role=img][aria-label]").count() == 6
        assert said == []
        assert {url.startswith((service.url, "data:")) for url in asked} == {True}
