from __future__ import annotations

from pathlib import Path

import pytest

from deeprec_env.envs.environments import CAPACITY, PIPELINE, SERVING, SERVING_V2, SPECS
from deeprec_env.progress import silent
from docs.site.environments import baselines, page, stem, write_environments
from docs.site.film import film
from docs.site.pages import DOCS, copy_pages


def test_every_environment_has_a_page_with_its_fields_and_its_baselines(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    copy_pages(source)
    write_environments(source, False, silent)
    overview = (source / "environments.md").read_text(encoding="utf-8")
    for spec in SPECS:
        text = (source / "environments" / f"{stem(spec)}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {spec.id}\n")
        assert "## Observation space" in text
        assert f"| [{spec.id}](environments/{stem(spec)}.md) | " in overview
    for spec in (SERVING, SERVING_V2, CAPACITY, PIPELINE):
        text = (source / "environments" / f"{stem(spec)}.md").read_text(encoding="utf-8").partition("## Baselines")[2]
        assert "| load-table |" in text.replace("| day | load-table |", "| load-table |")


def test_figures_stand_with_the_command_that_gave_them() -> None:
    found = baselines(DOCS)
    for spec in (SERVING, SERVING_V2, CAPACITY, PIPELINE):
        text, _ = found[spec.id]
        assert "make demo" in text or "deeprec evaluate" in text or "python -m " in text


def test_links_of_the_figures_lead_out_of_the_folder() -> None:
    text = page(SERVING, "", ("see [champions](champions.md)", DOCS / "figures.md"))
    assert "see [champions](../champions.md)" in text
    assert "[Figures](../figures.md)" in text
    assert "## Baselines" not in page(SERVING, "", None)


def test_a_film_is_of_a_test_episode(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    shown = film(PIPELINE, tmp_path / "pipeline-v0.webp")
    with image.open(tmp_path / "pipeline-v0.webp") as pictures:
        assert (pictures.format, pictures.size, pictures.n_frames) == ("WEBP", (640, 480), 48)
    with image.open(tmp_path / "pipeline-v0-end.webp") as last:
        assert last.size == (640, 480)
    assert (tmp_path / "pipeline-v0.webp").stat().st_size < 400_000
    assert 'src="pipeline-v0.webp"' in shown
    assert 'alt="DeepRec/Pipeline-v0, a test episode of recpipe-cpu (seed 0) under' in shown
