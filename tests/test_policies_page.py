"""The page of the policies names every one of them, in each environment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deeprec_env.envs.environments import SPECS
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.policies.evaluation.evaluation import evaluation_of

PAGE = Path(__file__).parents[1] / "docs" / "policies.md"
SECTIONS = {"Pipeline": "Pipelines", "Fleet": "Fleets"}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_every_policy_is_there(spec: EnvSpec) -> None:
    section = next((SECTIONS[kind] for kind in SECTIONS if kind in spec.id), "Serving")
    part = next(each for each in PAGE.read_text(encoding="utf-8").split("\n## ") if each.startswith(section))
    named = set(re.findall(r"^\| `([a-z0-9-]+)` \|", part, flags=re.MULTILINE))
    assert set(evaluation_of(spec).baselines) <= named
