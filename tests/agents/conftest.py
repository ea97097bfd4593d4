"""What several tests of agents use."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.conftest import day_scenario


@pytest.fixture(scope="session")
def ppo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model saved by hand."""
    from stable_baselines3 import PPO

    from tests.agents.models import environments, saved

    return saved(tmp_path_factory.mktemp("saved"), PPO, environments())


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A small scenario in a file."""
    path = tmp_path / "node.yaml"
    path.write_text(yaml.safe_dump(day_scenario()), encoding="utf-8")
    return path
