from __future__ import annotations

from pathlib import Path

import pytest

import deeprec_env
from docs.site.reference import PAGES, public, read, write_reference


@pytest.fixture(autouse=True)
def _reader() -> None:
    pytest.importorskip("griffe")


def test_all_that_packages_declare_public_is_on_their_pages(tmp_path: Path) -> None:
    write_reference(tmp_path)
    text = "".join((tmp_path / "reference" / f"{name}.md").read_text(encoding="utf-8") for name in PAGES)
    for name in ("Scenario", "simulate", "find_capacity", "load_scenario"):
        documented = getattr(deeprec_env, name)
        assert f"::: {documented.__module__}.{documented.__qualname__}\n" in text
    assert "heading: deeprec_env.simulation.simulate\n" in text
    assert text.count("::: deeprec_env.scenario.schema.Scenario\n") == 1
    index = (tmp_path / "reference" / "index.md").read_text(encoding="utf-8")
    for name in deeprec_env.__all__:
        assert f"[`deeprec_env.{name}`]" in index or not callable(getattr(deeprec_env, name))
    for name in PAGES:
        assert f"| [{name}]({name}.md) | " in index


def test_public_is_what_is_meant_not_the_module_of_its_name() -> None:
    found = public(read())
    assert found["simulate"].path == "deeprec_env.simulation.simulate.simulate"
    assert "__version__" not in found
