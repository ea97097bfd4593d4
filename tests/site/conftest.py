from __future__ import annotations

from pathlib import Path

import pytest

from deeprec_env.extras import is_installed
from docs.site.build import build


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The website, without films."""
    if not (is_installed("zensical") and is_installed("mkdocstrings_handlers")):
        pytest.skip("the extra docs is not installed")
    output = tmp_path_factory.mktemp("website") / "site"
    build(output, quick=True)
    return output
