from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import Scenario, load_scenario
from deeprec_env.analysis.day import with_drift
from deeprec_env.analysis.service_features import FEATURES, Service
from deeprec_env.envs import ServingEnv
from deeprec_env.envs.observation import FIELDS
from deeprec_env.errors import InputError
from deeprec_env.policies.adaptive.generalist import MOST_LOAD, Belief, GeneralistPolicy
from deeprec_env.policies.adaptive.tail_network import SHIPPED, TENSORS, TailNetwork, read_network, write_network
from deeprec_env.policies.adaptive.utilisation import Factors, Seen, UtilisationModel
from deeprec_env.policies.base import TunedPolicy
from deeprec_env.policies.evaluation.day_metrics import day_metrics
from deeprec_env.policies.evaluation.episodes import run_episode
from deeprec_env.policies.registry import prepare
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.offered_load import service_demands

ROOT = Path(__file__).resolve().parents[2]
CPU = {"servers": 8, "latency": {"kind": "affine", "base_ms": 0.3, "per_item_ms": 0.02, "cv": 0.1}}
ACCELERATOR = {"servers": 1, "latency": {"kind": "affine", "base_ms": 1.0, "per_item_ms": 0.004, "cv": 0.05}}


def small(*, items: Any = None, **changes: Any) -> Scenario:
    return load_scenario(
        {
            "sla_ms": 20,
            "workload": {
                "arrivals": {"kind": "diurnal", "qps": 825, "day_s": 2.4},
                "sizes": {"kind": "production"} if items is None else {"kind": "fixed", "items": items},
            },
            "node": {"cpu": CPU, "accelerator": ACCELERATOR},
            "control": {"interval_s": 0.1, "batch_sizes": [16, 64, 256, 1000], "thresholds": [128, 256, 512, None]},
            "capacity": {"qps": 1500, "batch_size": 256, "found_by": "a guess"},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def policy() -> GeneralistPolicy:
    return GeneralistPolicy(small())


def observation(**fields: float) -> Any:
    seen = np.zeros(len(FIELDS), dtype=np.float32)
    for name, value in fields.items():
        seen[FIELDS.index(name)] = value
    return seen


def test_loads_are_those_of_the_analysis() -> None:
    for scenario in (small(), load_scenario("dlrm-rmc3"), load_scenario("kairos-wnd-skylake")):
        settings = scenario.settings()
        loads = Service(scenario, settings).loads(np.array([700.0]))[0]
        for setting, of_setting in zip(settings, loads, strict=True):
            for demand, load in zip(service_demands(scenario, setting), of_setting, strict=False):
                assert load == pytest.approx(demand.load(700.0), rel=1e-9, abs=1e-12)


def test_features_are_free_of_scale() -> None:
    slower = {
        kind: pool
        | {"latency": pool["latency"] | {name: 7 * pool["latency"][name] for name in ("base_ms", "per_item_ms")}}
        for kind, pool in (("cpu", CPU), ("accelerator", ACCELERATOR))
    }
    one, other = (Service(scenario, scenario.settings()) for scenario in (small(), small(node=slower)))
    here, there = one.estimate(np.array([300.0, 900.0])), other.estimate(np.array([300.0, 900.0]) / 7)
    assert here.rows == pytest.approx(there.rows, rel=1e-4, abs=1e-4)
    assert there.log_tail_s - here.log_tail_s == pytest.approx(np.log(7.0), abs=1e-3)
    assert here.rows.shape == (2, 16, len(FEATURES))


def test_the_setting_is_stable_whenever_there_is_a_stable_one(policy: GeneralistPolicy) -> None:
    scenario = small()
    service = Service(scenario, scenario.settings())
    for qps in np.linspace(20, 3000, 60):
        chosen = policy.best(Belief(float(qps), Factors())).place
        busiest = service.loads(np.array([qps]))[0].max(axis=-1)
        assert busiest[chosen] < MOST_LOAD or busiest[chosen] == busiest.min()


def test_it_splits_little_work_and_not_much(policy: GeneralistPolicy) -> None:
    settings = small().settings()
    low, high = (settings[policy.best(Belief(qps, Factors())).place] for qps in (50.0, 1500.0))
    assert low.batch_size < high.batch_size


def test_unknown_features_are_left_to_the_queueing_estimates() -> None:
    network, service = GeneralistPolicy(small())._network, Service(small(), small().settings())
    estimate = service.estimate(np.array([500.0]))
    assert network.knows(estimate.rows).any()
    assert not np.array_equal(network.log_tail_s(estimate), estimate.log_tail_s)
    estimate.rows[..., FEATURES.index("cpu_servers")] = 99.0
    assert not network.knows(estimate.rows).any()
    assert network.log_tail_s(estimate) == pytest.approx(estimate.log_tail_s)


def utilisations(factor: float, windows: int, qps: float = 600.0) -> Factors:
    """A deterministic system of one size, with a CPU that many times slower than the profile says."""
    scenario = small(items=200)
    setting = scenario.settings().index(Setting(64, None))
    service = Service(scenario, scenario.settings())
    model, factors, left, most_qps = UtilisationModel(scenario, service), Factors(), 0.0, 8.0 / service.cpu_s[setting]
    for _ in range(windows):
        load = factor * qps / most_qps + left
        left = max(0.0, load - 1.0)
        done_qps = min(load, 1.0) * most_qps / factor
        factors = model.updated(factors, Seen(setting, qps, done_qps, 200.0, (min(load, 1.0), 0.0)))
    return factors


def test_the_factor_of_a_right_profile_is_one_and_of_a_wrong_one_is_found() -> None:
    assert utilisations(1.0, 30).cpu == 1.0
    assert utilisations(1.3, 30).cpu == pytest.approx(1.3, rel=0.02)
    assert utilisations(0.85, 30).cpu == pytest.approx(0.85, rel=0.02)
    assert utilisations(1.3, 30).accelerator == utilisations(1.3, 30).items == 1.0
    assert utilisations(4.0, 30).cpu == pytest.approx(4.0, rel=0.1)  # overloaded: those left waiting say so


def refusing(factor: float, share: float, load: float = 0.6) -> float:
    """The factor believed of a CPU with so much to do by the profile, that many times slower, that refuses a share.

    What can't be done waits.
    """
    scenario = small(items=200)
    setting = scenario.settings().index(Setting(64, None))
    service = Service(scenario, scenario.settings())
    qps = load * 8.0 / service.cpu_s[setting]
    a_request = service.cpu_s[setting] / service.requests[setting] / (8 * scenario.control.interval_s)
    model, factors, left = UtilisationModel(scenario, service), Factors(), 0.0
    for _ in range(5):
        work = (1.0 - share) * factor * load + left
        left = max(0.0, work - 1.0)
        waiting = left / factor / a_request, 0.0
        seen = Seen(setting, qps, 0.0, 200.0, (min(work, 1.0), 0.0), refused_qps=share * qps, waiting=waiting)
        factors = model.updated(factors, seen)
    return factors.cpu


def test_refused_queries_may_have_been_anyones() -> None:
    assert refusing(1.0, 0.1) == refusing(1.2, 0.2) == 1.0
    assert 1.3 < refusing(1.4, 0.05) < 1.4
    assert refusing(0.5, 0.1) == pytest.approx(0.5, rel=0.02)
    assert refusing(1.4, 0.0) == pytest.approx(1.4, rel=0.02)


def test_who_waits_is_counted_where_that_is_measured() -> None:
    assert refusing(2.5, 0.0) == pytest.approx(2.5, rel=0.02)
    assert refusing(1.0, 0.0, load=1.5) == 1.0


def test_larger_queries_than_the_profile_are_noticed() -> None:
    scenario = small()
    service = Service(scenario, scenario.settings())
    model, factors, setting = UtilisationModel(scenario, service), Factors(), 5
    for _ in range(40):
        busy = 600.0 * (service.cpu_s[setting] + service.by_items_s[0, setting] * 0.3 * service.mean_items) / 8
        factors = model.updated(factors, Seen(setting, 600.0, 600.0, 1.3 * service.mean_items, (busy, 0.0)))
    assert factors.items == pytest.approx(1.3, rel=0.06)
    assert factors.cpu == pytest.approx(1.0, abs=0.01)


def test_a_slow_node_is_noticed_while_it_runs() -> None:
    nominal = small()
    slow = small(node={"cpu": CPU | {"contention": {"c": [1.4, 0, 0]}}, "accelerator": ACCELERATOR})
    run = run_episode(ServingEnv(slow), GeneralistPolicy(nominal), 0, "validation")
    assert run.state[0].factors.cpu == pytest.approx(1.4, rel=0.1)
    same = run_episode(ServingEnv(nominal), GeneralistPolicy(nominal), 0, "validation")
    assert same.state[0].factors.cpu == pytest.approx(1.0, abs=0.05)


def test_many_observations_are_many_single_ones_and_days_repeat(policy: GeneralistPolicy) -> None:
    rng = np.random.default_rng(0)
    loads, starts = rng.uniform(0, 1.2, (6, 3)), rng.random((6, 3)) < 0.2
    together: Any = None
    alone: list[Any] = [None] * 3
    for seen, first in zip(loads, starts, strict=True):
        rows = [
            observation(offered=load, completed=load, mean_items=1.0, cpu_utilisation=min(0.6 * load, 1.0))
            for load in seen
        ]
        actions, together = policy.predict(np.stack(rows), together, first)
        for env in range(3):
            action, alone[env] = policy.predict(rows[env], alone[env], first[env : env + 1])
            assert action.tolist() == actions[env].tolist()
    prepared: TunedPolicy = prepare("generalist", small(), None, lambda words: None)  # type: ignore[arg-type]
    assert prepared.tuning_queries == 0
    days = [run_episode(ServingEnv(small()), prepared.policy, 3, "test").actions for _ in range(2)]
    assert [action.tolist() for action in days[0]] == [action.tolist() for action in days[1]]


def test_a_damaged_file_and_one_for_something_else_are_named(tmp_path: Path) -> None:
    shipped = ROOT / "policies" / "shipped" / SHIPPED
    whole = shipped.read_bytes()
    assert len(whole) < 2**20
    path = tmp_path / "network.safetensors"
    for damaged in (b"", b"no network", whole[:-100], whole[:-9] + b"\x00" + whole[-8:], b"\xff" * 8 + whole[8:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"generalist: got .*network.safetensors.*whole file"):
            read_network(path)
    with pytest.raises(InputError, match="whole file"):
        read_network(tmp_path / "none.safetensors")
    network = read_network(shipped)
    tensors = {name: network._of[name].astype(np.float32) for name in TENSORS}
    write_network(path, tensors, {"seed": 3})
    again = read_network(path)
    assert again.facts["seed"] == 3
    path.write_bytes(path.read_bytes().replace(b"Serving-v1", b"Serving-v9"))
    with pytest.raises(InputError, match="made for DeepRec/Serving-v9"):
        read_network(path)


def test_the_forward_pass_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    from deeprec_env.agents.generalist.fit import layers, make_network

    torch.manual_seed(0)
    made = make_network()
    ones = np.ones(len(FEATURES))
    tensors = {"mean": 0 * ones, "scale": ones, "lowest": -9 * ones, "highest": 9 * ones, **layers(made)}
    rows = np.random.default_rng(0).normal(size=(50, len(FEATURES))).astype(np.float32)
    with torch.no_grad():
        wanted = made(torch.from_numpy(rows)).numpy()
    assert TailNetwork(tensors, {}).corrections(rows.astype(np.float64)) == pytest.approx(wanted, abs=1e-6)


PROFILE = """model,device,batch,part,repeats,mean_ms,p01_ms,p05_ms,p10_ms,p25_ms,p50_ms,p75_ms,p90_ms,p95_ms,p99_ms
m,cpu,64,compute,9,1,1,1,1,1,1,1,1,1,1
"""


def test_what_it_cannot_describe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(PROFILE)
    latency = {"kind": "profile", "profile": str(tmp_path / "one.csv"), "model": "m"}
    lacking = small(node={"cpu": {"servers": 8, "latency": latency}}, control={"interval_s": 0.1})
    with pytest.raises(InputError, match=r"cpu.latency.profile.*two batches"):
        GeneralistPolicy(lacking)
    further = small(control={"interval_s": 0.1, "offload": "predicted"})
    with pytest.raises(InputError, match=r"control.offload.*left out"):
        GeneralistPolicy(further)
    with pytest.raises(InputError, match="one node"):
        GeneralistPolicy(load_scenario("recpipe-cpu"))


def test_it_needs_no_torch() -> None:
    code = """
import json, sys
from deeprec_env import load_scenario
from deeprec_env.policies.adaptive.generalist import GeneralistPolicy
policy = GeneralistPolicy(load_scenario("wnd"))
print(json.dumps([policy.first(), "torch" in sys.modules, sorted(policy._network.facts)]))
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    first, torch_loaded, facts = json.loads(ran.stdout)
    assert first >= 0
    assert not torch_loaded
    assert {"command", "seed", "versions", "services"} <= set(facts)


def test_other_sizes_say_nothing_of_the_pools() -> None:
    scenario = small()
    run = run_episode(ServingEnv(with_drift(scenario)), GeneralistPolicy(with_drift(scenario)), 0, "validation")
    factors = run.state[0].factors
    assert factors.items > 1.2
    assert factors.cpu == pytest.approx(1.0, abs=0.08)
    assert factors.accelerator == pytest.approx(1.0, abs=0.15)
    assert day_metrics(run.records, scenario).violation_rate < 0.02
