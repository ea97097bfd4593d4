"""Specialists as policies: features, the forward pass, the files, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import load_scenario
from deeprec_env.envs.environments import SERVING, SERVING_V2
from deeprec_env.envs.observation import FIELDS
from deeprec_env.errors import InputError
from deeprec_env.policies.adaptive.policy_network import PolicyNetwork, read_policy, write_policy
from deeprec_env.policies.adaptive.specialist import History, SpecialistPolicy
from deeprec_env.policies.adaptive.specialist_file import (
    load_specialist,
    made_for,
    shipped_files,
    shipped_specialist,
)
from deeprec_env.policies.evaluation.comparison import compare
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from tests.conftest import day_scenario

ROOT = Path(__file__).resolve().parents[2]
REPERTOIRE = [{"batch_size": 64, "threshold": None}, {"batch_size": 64, "threshold": 400}]


def small(**changes: Any) -> Scenario:
    data = day_scenario()
    data["control"] |= {"batch_sizes": [64], "thresholds": [400, None]}
    return load_scenario(data | changes)


def drawn_network(scenario: Scenario, seed: int = 0) -> PolicyNetwork:
    """A network of random weights, as a training of the scenario would leave it."""
    rng, width = np.random.default_rng(seed), History(FIELDS).width
    shapes = [(width, 8), (8, 8), (8, len(REPERTOIRE))]
    tensors: dict[str, Any] = {"mean": rng.normal(size=width), "scale": np.ones(width)}
    for place, shape in enumerate(shapes):
        tensors[f"weight{place}"], tensors[f"bias{place}"] = rng.normal(size=shape), rng.normal(size=shape[1])
    facts = {
        "environment": SERVING.id,
        "scenario": "small",
        "seed": seed,
        "fields": list(FIELDS),
        "controls": ["batch_size", "threshold"],
        "repertoire": REPERTOIRE,
        "made_for": made_for(SERVING.make_task(scenario)),
        "tuning_queries": 7,
    }
    return PolicyNetwork({name: np.float32(value) for name, value in tensors.items()}, facts)


@pytest.fixture
def scenario() -> Scenario:
    return small()


@pytest.fixture
def file(tmp_path: Path, scenario: Scenario) -> Path:
    path = tmp_path / "agent.safetensors"
    write_policy(path, drawn_network(scenario))
    return path


def test_what_it_remembers_is_each_observations_own(scenario: Scenario) -> None:
    policy = SpecialistPolicy(drawn_network(scenario), FIELDS, np.array([[0, 1], [0, 0]]))
    rng = np.random.default_rng(1)
    seen, starts = rng.random((6, 3, len(FIELDS))).astype(np.float32), rng.random((6, 3)) < 0.3
    together: Any = None
    alone: list[Any] = [None] * 3
    for rows, first in zip(seen, starts, strict=True):
        actions, together = policy.predict(rows, together, first)
        for env in range(3):
            action, alone[env] = policy.predict(rows[env], alone[env], first[env : env + 1])
            assert action.tolist() == actions[env].tolist()
            np.testing.assert_array_equal(alone[env][0], together[env])


def test_features_hold_the_past_and_not_the_clock() -> None:
    history = History(FIELDS)
    rows = np.zeros((3, 1, len(FIELDS)))
    rows[1:, 0, FIELDS.index("offered")] = 0.5, 0.7
    rows[1:, 0, FIELDS.index("p95")] = 0.2, 0.4
    state: Any = None
    found = []
    for row in rows:
        features, state = history.features(row, state, None)
        found.append(features[0])
    later, _ = history.features(rows[2] + np.eye(len(FIELDS))[FIELDS.index("day_sin")], None, None)
    first, _ = history.features(rows[2], None, None)
    assert later.tolist() == first.tolist()
    assert [each[-1] for each in found] == [1.0, 0.0, 0.0]  # what says that nothing has been measured
    assert found[1][history.smoothed] == 0.5
    assert found[2][history.smoothed : history.smoothed + 3] == pytest.approx([0.6, 0.54, 0.5])
    assert found[2][-2] == pytest.approx(0.2)


def test_while_the_load_stays_near_capacity_the_setting_that_carries_most_is_in_force(scenario: Scenario) -> None:
    network, actions = drawn_network(scenario), np.array([[0, 1], [0, 0]])
    alone, guarded = SpecialistPolicy(network, FIELDS, actions), SpecialistPolicy(network, FIELDS, actions, carries=1)
    rng, windows, nodes = np.random.default_rng(3), 40, 50
    rows = rng.random((windows, nodes, len(FIELDS))).astype(np.float32)
    starts = rng.random((windows, nodes)) < 0.03
    starts[0] = True
    loads = rows[..., FIELDS.index("offered")] = rng.uniform(0.8, 1.0, (windows, nodes))
    first = np.ones(nodes, dtype=int)  # the window whose load is each episode's first
    of_alone: Any = None
    of_guarded: Any = None
    held = 0
    for window in range(windows):
        first[starts[window]] = window + 1
        chosen, of_alone = alone.predict(rows[window], of_alone, starts[window])
        kept, of_guarded = guarded.predict(rows[window], of_guarded, starts[window])
        for node in np.flatnonzero((first <= window) & (window < first + 10)):  # in the first ten all count alike
            near = loads[first[node] : window + 1, node].astype(np.float32).mean(dtype=np.float64) >= 0.9
            assert kept[node].tolist() == ([0, 0] if near else chosen[node].tolist())
            held += near and chosen[node].tolist() != [0, 0]
        assert (kept[first > window] == chosen[first > window]).all()  # nothing has been measured yet
    assert held > 10


def test_each_episode_begins_with_the_setting_for_a_load_that_nobody_has_measured(scenario: Scenario) -> None:
    network, actions = drawn_network(scenario), np.array([[0, 1], [0, 0]])
    policies = [SpecialistPolicy(network, FIELDS, actions, first=first) for first in (None, 0, 1)]
    rng = np.random.default_rng(4)
    states: list[Any] = [None] * 3
    for window in range(30):
        row = rng.random((20, len(FIELDS))).astype(np.float32)
        begins = rng.random(20) < (1.0 if window == 0 else 0.1)
        chosen = []
        for place, policy in enumerate(policies):
            found, states[place] = policy.predict(row, states[place], begins)
            chosen.append(found)
        assert chosen[1][begins].tolist() == [[0, 1]] * begins.sum()
        assert chosen[2][begins].tolist() == [[0, 0]] * begins.sum()
        assert (chosen[0][~begins] == chosen[1][~begins]).all()
        assert (chosen[0][~begins] == chosen[2][~begins]).all()


def test_the_mean_of_a_crowd_is_soon_forgotten(scenario: Scenario) -> None:
    policy = SpecialistPolicy(drawn_network(scenario), FIELDS, np.array([[0, 1], [0, 0]]), carries=1)
    row = np.zeros(len(FIELDS), dtype=np.float32)
    means = []
    state: Any = None
    for load in [0.5] * 30 + [1.5] * 3 + [0.5] * 30:
        row[FIELDS.index("offered")] = load
        _, state = policy.predict(row, state, np.array([state is None]))
        means.append(state[0, -2])
    assert means[0] == 0.0
    assert means[29] == pytest.approx(0.5)
    assert means[32] == pytest.approx(0.5 + (1.0 - 0.9**3))
    assert means[-1] == pytest.approx(0.5, abs=0.02)


def test_a_file_that_names_no_setting_of_its_own_is_refused(file: Path, scenario: Scenario) -> None:
    network = drawn_network(scenario)
    for carries in (2, -1, "1"):
        write_policy(file, PolicyNetwork(network.tensors, {**network.facts, "carries": carries}))
        with pytest.raises(InputError, match=r"agent.safetensors.*one of its settings under carries"):
            load_specialist(file, scenario, SERVING.id)
    write_policy(file, PolicyNetwork(network.tensors, {**network.facts, "carries": 1, "first": 0}))
    policy, row = load_specialist(file, scenario, SERVING.id).policy, np.zeros(len(FIELDS), dtype=np.float32)
    begun, state = policy.predict(row, None, np.array([True]))
    row[FIELDS.index("offered")] = 2.0
    near, _ = policy.predict(row, state, np.array([False]))
    actions = [scenario.action(Setting(**each), SERVING.task.controls) for each in REPERTOIRE]
    assert (begun.tolist(), near.tolist()) == (list(actions[0]), list(actions[1]))


def test_a_file_is_read_as_it_was_written(file: Path, scenario: Scenario) -> None:
    prepared = load_specialist(file, scenario, SERVING.id)
    assert prepared.tuning_queries == 7
    found, written = read_policy(file), drawn_network(scenario)
    rows = np.random.default_rng(2).normal(size=(20, History(FIELDS).width))
    assert found.preferences(rows).tolist() == written.preferences(rows).tolist()
    before = file.read_bytes()
    write_policy(file, found)
    assert file.read_bytes() == before


def test_a_damaged_file_is_named(file: Path, scenario: Scenario) -> None:
    whole = file.read_bytes()
    changed = (whole[:-9] + b"\x00" + whole[-8:], whole.replace(b"Serving-v1", b"Serving-v2"))
    for damaged in (b"", b"no agent", whole[:-100], *changed, b"\xff" * 8 + whole[8:]):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"specialist: got .*agent.safetensors.*whole file"):
            load_specialist(file, scenario, SERVING.id)
    with pytest.raises(InputError, match="whole file"):
        read_policy(file.with_name("none.safetensors"))


def test_what_it_was_not_made_for_is_refused(file: Path, scenario: Scenario) -> None:
    with pytest.raises(InputError, match="was trained in DeepRec/Serving-v1, not in DeepRec/Serving-v2"):
        load_specialist(file, scenario, SERVING_V2.id)
    other = small(sla_ms=day_scenario()["sla_ms"] * 2)
    with pytest.raises(InputError, match="was trained on small, from which this scenario differs in sla_ms"):
        load_specialist(file, other, SERVING.id)
    with pytest.raises(InputError, match=r"agent.safetensors.*differs in sla_ms"):
        compare(SERVING, other, [str(file)], seeds=1, options=TuneOptions(queries=1100))
    with pytest.raises(InputError, match=r"specialist.*is shipped for .*wnd.*differs from"):
        shipped_specialist(SERVING, scenario)


def test_every_shipped_agent_is_small_and_acts() -> None:
    files = list(shipped_files())
    assert files
    for path in files:
        assert path.stat().st_size < 2**20
        facts = read_policy(path).facts
        assert {"command", "seed", "validation_seeds", "versions", "validation", "made_for"} <= facts.keys()
        name, version = facts["scenario"], facts["environment"].rpartition("-")[2]
        assert path.name == f"specialist-{name}-{version}.safetensors"
        spec = SERVING if version == "v1" else SERVING_V2
        prepared = shipped_specialist(spec, load_scenario(name))
        assert spec.make_task(load_scenario(name)).action_space.contains(
            prepared.policy.predict(np.zeros(len(facts["fields"]), dtype=np.float32))[0]
        )


def test_it_needs_no_torch() -> None:
    code = """
import json, sys
from deeprec_env import evaluate
found = evaluate("wnd", ["specialist"], seeds=1, queries=1100)
print(json.dumps([found.policies["specialist"].mean("p95_hourly_s"), "torch" in sys.modules]))
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    p95_s, torch_loaded = json.loads(ran.stdout)
    assert 0.0 < p95_s < 0.025
    assert not torch_loaded
