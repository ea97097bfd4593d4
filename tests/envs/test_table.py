from __future__ import annotations

import re
from pathlib import Path

import gymnasium as gym
import pytest

from deeprec_env import InputError
from deeprec_env.envs import table
from deeprec_env.envs.environments import EARLIER, SPECS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "environments.md"


def test_the_table_is_what_the_environments_say_now() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert table.rewritten(text, PAGE.name) == text, "run: python -m deeprec_env.envs.table docs/environments.md"


def test_every_environment_that_the_commands_know_is_in_it() -> None:
    earlier = [spec.id for spec in EARLIER]
    latest = [spec.id for spec in gym.registry.values() if spec.namespace == "DeepRec" and spec.id not in earlier]
    head = table.table().splitlines()[0]
    assert re.findall(r"`(DeepRec/.+?)`", head) == latest
    assert {"DeepRec/Serving-v1", "DeepRec/Serving-v2"} <= set(latest)


def test_it_names_the_space_and_every_entry_of_the_observation() -> None:
    row = next(line for line in table.table().splitlines() if line.startswith("| observation"))
    for spec, cell in zip(SPECS, row.strip("| ").split(" | ")[1:], strict=True):
        env = gym.make(spec.id)
        space, fields = cell.split(": ", 1)
        assert str(env.observation_space.shape) in space
        assert env.observation_space.shape == (len(fields.split(", ")),)
        env.close()


def test_rewriting_replaces_what_is_between_the_markers_alone(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"above\n{table.BEGIN}\nold\n{table.END}\nbelow\n", encoding="utf-8")
    table.main([str(path)])
    text = path.read_text(encoding="utf-8")
    assert text == f"above\n{table.BEGIN}\n\n{table.table()}\n{table.END}\nbelow\n"
    table.main([str(path)])
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("text", ["", table.BEGIN, f"{table.END}\n{table.BEGIN}"])
def test_a_file_without_markers_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="must hold the lines"):
        table.rewritten(text, "README.md")
