"""Reports: what they show is what the results hold, and they need nothing beside themselves."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeprec_env.report.report import LARGEST, write_report
from tests.conftest import day_scenario
from tests.recpipe.spaces import space, stage
from tests.test_cli import call


def made(capsys: pytest.CaptureFixture[str], path: Path, *arguments: object) -> Path:
    status, out, err = call(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    path.write_text(out, encoding="utf-8")
    return path


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "node.yaml"
    path.write_text(yaml.safe_dump(day_scenario()), encoding="utf-8")
    return path


class Seen(HTMLParser):
    """Of a page: what its marks tell, the words of its paragraphs, and whatever it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.told: list[str] = []
        self.text = ""
        self.loads: list[str] = []
        self.names: list[str] = []
        self.labels: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "data-told" in given:
            self.told.append(given["data-told"])
        if "id" in given:
            self.names.append(given["id"])
        self.labels += given.get("aria-labelledby", "").split()
        self.loads += [value for name, value in given.items() if name in ("src", "href") and value != "data:,"]

    def handle_data(self, data: str) -> None:
        self.text += data


def seen(paths: list[Path], output: Path) -> Seen:
    write_report(paths, output)
    content = output.read_text(encoding="utf-8")
    assert len(content.encode()) < LARGEST
    found = Seen(content)
    assert found.loads == []  # one file, no network
    assert re.search(r"url\(|@import|https?://", content.partition("<body>")[0]) is None
    assert len(set(found.names)) == len(found.names)
    assert set(found.labels) <= set(found.names)  # every plot has its title and description
    return found


def test_runs_side_by_side(tmp_path: Path, scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ("simulate", scenario, "--queries", 1500, "--qps", 300)
    first = made(capsys, tmp_path / "first.json", *run, "--records", tmp_path / "first.csv")
    second = made(capsys, tmp_path / "second.json", *run, "--batch-size", 512)
    found = seen([first, tmp_path / "first.csv", second], tmp_path / "report.html")
    for path in (first, second):
        answer = json.loads(path.read_text())
        latency = answer["latency_ms"]
        low, high = (json.dumps(end) for end in latency["p95_ci"])
        assert f"{path.stem}, p95: {latency['p95']!r} [{low}, {high}]" in found.told
        assert answer["question"]["line"] in found.text
        assert answer["streams_sha256"] in found.text
    assert any(told.startswith("first, ms ") for told in found.told)  # the tail, from the records
    assert "The node has 8 cores (latency: affine (base_ms 0.5, per_item_ms 0.05, cv 0.1)) and 1 acc" in found.text


def test_comparisons(tmp_path: Path, scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--policies", "static,random", "--seeds", 2, "--queries", 1500)
    path = made(capsys, tmp_path / "compared.json", "evaluate", scenario, *options)
    found = seen([path], tmp_path / "report.html")
    for name, entry in json.loads(path.read_text())["policies"].items():
        low, high = (json.dumps(end) for end in entry["p95_hourly_ci_ms"])
        assert f"{name}: {entry['p95_hourly_ms']!r} [{low}, {high}]" in found.told
        assert f"{name} {entry['violation_rate']:.2%}" in found.text
        word = "keeps" if entry["p95_day_ms"] <= 60 else "misses"
        assert f" ms, {word} the target of 60 ms, {entry['violation_rate']:.2%} of its queries were late." in found.text
    assert re.search(r"random is (neither surely )?(slower|quicker)[ a-z]* than static: ", found.text)


def test_capacities_and_their_maps(tmp_path: Path, scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made(capsys, tmp_path / "capacity.json", "capacity", scenario, "--queries", 2000)
    answer = json.loads(path.read_text())
    assert any(told.startswith(f"capacity: {answer['qps']!r}") for told in seen([path], tmp_path / "c.html").told)
    ladders = ("--set", "control.batch_sizes=[25, 64]", "--set", "control.thresholds=[300, null]")
    swept = ("capacity", scenario, "--sweep", "--queries", 2000, *ladders, "--output", tmp_path / "map")
    path = made(capsys, tmp_path / "map.json", *swept)
    found = seen([path], tmp_path / "m.html")
    best = json.loads(path.read_text())["best"]
    name = "never offload" if best["threshold"] is None else f"from {best['threshold']} items"
    assert any(told.startswith(f"{name}, batch size {best['batch_size']}: {best['qps']!r}") for told in found.told)
    shutil.rmtree(tmp_path / "map")
    assert "csv: got" in call(capsys, "report", path, "--output", tmp_path / "none.html")[2]


def test_sweeps_of_pipelines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "space.yaml"
    config.write_text(yaml.safe_dump(space([stage(["dim_4", "dim_16"], [512, 1024], ["cpu"])])), encoding="utf-8")
    path = made(capsys, tmp_path / "swept.json", "pipeline", "sweep", config, "--output", tmp_path / "sweep")
    fronts = json.loads(path.read_text())["fronts"]
    found = seen([path], tmp_path / "report.html")
    cells = [cell for front in fronts for cell in front["front"]]
    assert cells
    for cell in cells:
        assert any(told.endswith(f"p95 ms {cell['p95_ms']!r}: {cell['quality']!r}") for told in found.told)


def test_trainings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "training"
    options = ("--timesteps", 192, "--validate-every", 96, "--output", folder)
    assert call(capsys, "train", "ncf", *options, "--json")[0] == 0
    from deeprec_env.agents.evaluations import read_evaluations

    validations = read_evaluations(folder)
    found = seen([folder], tmp_path / "report.html")
    for name, values in validations.figures.items():
        for step, value in zip(validations.timesteps, values, strict=True):
            assert f"training, timesteps {int(step)}: {value!r}" in found.told, name


def test_markdown_holds_words_tables_and_commands(
    tmp_path: Path, scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(capsys, tmp_path / "run.json", "simulate", scenario, "--queries", 1100)
    assert call(capsys, "report", path, "--output", tmp_path / "report.md")[0] == 0
    text = (tmp_path / "report.md").read_text()
    answer: dict[str, Any] = json.loads(path.read_text())
    assert text.startswith("# deeprec simulate: run\n")
    assert f"| qps achieved | {answer['qps_achieved']:,.4g} |" in text
    assert f"```\n{answer['question']['line']}\n```" in text
    assert f"run, p99: {answer['latency_ms']['p99']:.4g} [" in text


def test_bad_input_is_one_line_and_nothing_is_written(
    tmp_path: Path, scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ("simulate", scenario, "--queries", 1100)
    path = made(capsys, tmp_path / "run.json", *run, "--records", tmp_path / "run.csv")
    other = made(capsys, tmp_path / "other.json", "simulate", scenario, "--queries", 1200)
    capacity = made(capsys, tmp_path / "capacity.json", "capacity", scenario, "--queries", 2000)
    cut = tmp_path / "cut.json"
    cut.write_text(path.read_text()[:-50], encoding="utf-8")
    newer = tmp_path / "newer.json"
    newer.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 2}), encoding="utf-8")
    less = tmp_path / "less.json"
    kept = json.loads(path.read_text())
    del kept["latency_ms"]
    less.write_text(json.dumps(kept), encoding="utf-8")
    page = tmp_path / "report.html"
    for what, output, said in (
        ([tmp_path / "run.csv"], page, "records without their scenario"),
        ([other, tmp_path / "run.csv"], page, "must be the records of that run, which has 1200 queries"),
        ([path, capacity], page, "must be results of one kind"),
        ([cut], page, "must be the JSON of a result"),
        ([newer], page, "schema_version: got 2"),
        ([less], page, "it lacks 'latency_ms'"),
        ([tmp_path], page, "a folder that 'deeprec train' left"),
        ([path], tmp_path / "report.pdf", "must be a file named *.html, *.md"),
        ([path], tmp_path / "nowhere" / "report.html", "its folder"),
    ):
        status, out, err = call(capsys, "report", *what, "--output", output)
        assert (status, out) == (2, ""), what
        assert said in err
        assert err.count("\n") == 1
        assert not page.exists()
