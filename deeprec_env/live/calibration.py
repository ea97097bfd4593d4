"""Calibration: recorded live runs in, a profile and a scenario of the node as it is in operation out.

What is fitted is in `calibration_fit`, slow phases in `calibration_phases`; `replay.replay_blind` holds it against a
run that was not fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from deeprec_env.errors import InputError
from deeprec_env.files import check_writable, replacing
from deeprec_env.latency import checked
from deeprec_env.latency.profile import Profile, load_profile
from deeprec_env.latency.table import ProfileRow, write_profile
from deeprec_env.live.calibration_fit import Estimate, PoolFit, ServiceLog, fit_dispatch, fit_pool
from deeprec_env.live.recording import Recording
from deeprec_env.progress import Progress, Step, silent
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.parts import Ints
from deeprec_env.scenario.pools import PoolKind, PoolSpec, Slowness, Stage
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.offered_load import offered_load
from deeprec_env.simulation.simulate import run
from deeprec_env.workload.stream import QueryStream, episode_seed

_LOOKED_AT = 5000
"""Simulated queries that tell how often servers are idle, and for how long."""

LEAST_REQUESTS = 1000
"""Of a pool: with fewer, phases and tails are a guess."""


@dataclass(frozen=True)
class Calibration:
    """What recorded runs say of a node of one stage: its pools, and what dispatch costs a query and each request."""

    stage: Stage
    pools: Mapping[PoolKind, PoolFit]
    query_s: Estimate
    request_s: Estimate

    def rows(self) -> list[ProfileRow]:
        """The profile in operation: every row of the pools' own that was measured, as the model, in its place."""
        found = []
        for kind, fit in self.pools.items():
            places = {batch: place for place, batch in enumerate(fit.batches)}
            rows = _rows(_profile(self.stage.pools()[kind]))
            means_ms = {(row.part, row.batch): row.mean_ms * fit.corrections[places[row.batch]].value for row in rows}
            for row in rows:
                mean_ms = means_ms[row.part, row.batch]
                if row.batch == fit.batches[-1] and len(fit.batches) > 1:  # a profile must not end falling
                    mean_ms = max(mean_ms, means_ms[row.part, fit.batches[-2]])
                quantiles = tuple((fit.shapes[places[row.batch]][: len(row.quantiles_ms)] * mean_ms).tolist())
                found.append(
                    ProfileRow(
                        row.model, row.device, row.batch, row.part, fit.requests, mean_ms, quantiles, row.threads
                    )
                )
        return found

    def scenario(self, scenario: Scenario, profile: str) -> Scenario:
        """The scenario with this node in place of its own; `profile` is the CSV of `rows`."""
        return load_scenario(self._described(scenario, profile))

    def write(self, profile: Path, header: Mapping[str, str], scenario: Scenario) -> Path:
        """Write the profile, and beside it the scenario as YAML, which names it; returns where."""
        path = profile.with_suffix(".yaml")
        write_profile(profile, header, self.rows())
        described = self._described(scenario, str(profile.resolve()))
        for kind in self.pools:
            described["pipeline"][0][kind]["latency"]["profile"] = profile.name
        with replacing(path) as file:
            file.write("# made by deeprec calibrate\n")
            yaml.safe_dump(described, file, sort_keys=False)
        return path

    def to_json(self) -> dict[str, Any]:
        """Every figure with its interval."""
        return {
            "pools": {kind: _pool_json(fit) for kind, fit in self.pools.items()},
            "dispatch_us": {
                "query": {"value": self.query_s.value * 1e6, "ci": _scaled(self.query_s.interval, 1e6)},
                "request": {"value": self.request_s.value * 1e6, "ci": _scaled(self.request_s.interval, 1e6)},
            },
        }

    def delay_s(self, scenario: Scenario) -> float:
        """What a query loses at an idle server of a scenario, in the mean: dispatch, and starting cold."""
        traffic = QueryStream(scenario.workload, episode_seed(0)).draw(_LOOKED_AT)
        stages, found = run(scenario, traffic).stages, []
        (stage,), (spec,) = stages, scenario.stages
        of_query = np.repeat(np.arange(len(traffic.items)), np.diff(stage.first))
        entry_s, away = traffic.arrival_s[of_query], stage.offloaded[of_query]
        for kind, pool in spec.pools().items():
            of_pool = away == (kind == "accelerator")
            start_s, end_s, items = stage.start_s[of_pool], stage.end_s[of_pool], traffic.items[of_query][of_pool]
            log = ServiceLog.of(start_s, end_s, entry_s[of_pool], items, pool.servers)
            if kind in self.pools:
                found.append((self.pools[kind].idleness.mean_s(log), np.count_nonzero(log.since_idle == 0)))
        weights = sum(weight for _, weight in found)
        return float(self.query_s.value + (sum(mean * weight for mean, weight in found) / weights if weights else 0.0))

    def _described(self, scenario: Scenario, profile: str) -> dict[str, Any]:
        data = scenario.model_dump(mode="json")
        stage = self.stage.model_dump(mode="json")
        for kind, fit in self.pools.items():
            pool = stage[kind]
            pool["latency"] |= {"profile": profile}
            load = offered_load(scenario, scenario.workload.arrivals.mean_qps, scenario.setting)[kind]
            longer = 1.0 if load is None else fit.load_effect.factor(load)
            pool["contention"] = {"c": [longer * each for each in fit.contention]}
            pool.pop("slowness", None)
            if fit.phases is not None:
                pool["slowness"] = {name: getattr(fit.phases, name) for name in Slowness.model_fields}
        data.pop("node", None)
        data.pop("capacity", None)
        whole = data | {"pipeline": [stage | {"overhead_s": self.request_s.value, "transfer_s": 0.0}]}
        (made,) = whole["pipeline"]
        made["transfer_s"] = self.delay_s(load_scenario(whole))
        return whole


def calibrate(recordings: Sequence[Recording], *, progress: Progress = silent) -> Calibration:
    """Fit what some recorded runs of one node say of it.

    Raises `InputError` for recordings of different nodes, pipelines, batching, latencies that are no profile's, and a
    pool that served too few requests; a pool that served none stays as it was.
    """
    stage = one_stage(recordings[0].scenario)
    for recording in recordings[1:]:
        if one_stage(recording.scenario) != stage:
            raise InputError("recording", "of another node", "must all be of the same node: pools and profiles")
    pools: dict[PoolKind, PoolFit] = {}
    logs: list[ServiceLog] = []
    for place, (kind, pool) in enumerate(stage.pools().items()):
        progress(Step(f"fit {kind}", 0.9 * place / len(stage.pools())))
        of_pool = [log for log in (service_log(each, kind, pool) for each in recordings) if len(log) > 0]
        requests = sum(map(len, of_pool))
        logs += of_pool
        if requests == 0:
            continue
        if requests < LEAST_REQUESTS:
            raise InputError("recording", f"{requests} requests on the {kind}", f"must hold at least {LEAST_REQUESTS}")
        profile = _profile(pool)
        batches = sorted({row.batch for row in _rows(profile)})

        def mean_s(items: Ints, profile: Profile = profile) -> Any:
            return checked.mean_s(profile, items)

        pools[kind] = fit_pool(of_pool, mean_s, batches, pool.servers)
    if not pools:
        raise InputError("recording", "no requests", f"must hold at least {LEAST_REQUESTS}")
    progress(Step("fit dispatch", 0.9))
    return Calibration(stage, pools, *fit_dispatch(logs))


def one_stage(scenario: Scenario) -> Stage:
    """The node of a scenario that can be calibrated; `InputError` for any other."""
    if len(scenario.stages) != 1 or scenario.sub_batches > 1 or scenario.plans is not None:
        raise InputError(
            "recording", "of a pipeline", "must be of one node: only there it is known when requests enter"
        )
    (stage,) = scenario.stages
    if stage.batching is not None:
        raise InputError("recording", "of a batching pool", "must be of one that serves requests one by one")
    for pool in stage.pools().values():
        _profile(pool)
    return stage


def service_log(recording: Recording, kind: PoolKind, pool: PoolSpec) -> ServiceLog:
    """A recording's requests on a pool."""
    columns = recording.columns
    chosen = (columns["stage"] == 0) & (columns["accelerator"] == (kind == "accelerator"))
    start_s, end_s, entry_s, items, worker = (
        columns[name][chosen] for name in ("start_s", "end_s", "entry_s", "request_items", "worker")
    )
    if not (np.isfinite(start_s).all() and np.isfinite(end_s).all() and (end_s > start_s).all()):
        raise InputError("recording", "start_s, end_s", "must be times, every request's end after its start")
    return ServiceLog.of(start_s, end_s, entry_s, items, pool.servers, worker if (worker >= 0).all() else None)


def check_output(output: Path) -> None:
    """Raise `InputError` if a calibration can't be written there; called before the work."""
    if output.suffix != ".csv":
        raise InputError("output", str(output), "must be a file named *.csv")
    check_writable("output", output)
    check_writable("output", output.with_suffix(".yaml"))


def calibrated_header(calibration: Calibration, files: Sequence[str]) -> dict[str, str]:
    """The header of the profile: that of the one before, and where the figures are from."""
    (first, *_) = (_profile(calibration.stage.pools()[kind]) for kind in calibration.pools)
    before = load_profile(first.profile).header
    said = {"calibrated": f"in operation, from {', '.join(files)}", "before": first.label}
    return {key: value for key, value in before.items() if key not in said} | said


def _profile(pool: PoolSpec) -> Profile:
    if not isinstance(pool.latency, Profile):
        raise InputError("latency.kind", pool.latency.kind, "must be profile: what is measured is held against one")
    return pool.latency


def _rows(profile: Profile) -> list[ProfileRow]:
    """The rows that a latency reads."""
    rows = [row for row in load_profile(profile.profile).rows if row.model == profile.model]
    device = profile.device or min(row.device for row in rows)
    rows = [row for row in rows if row.device == device]
    threads = profile.threads or min(row.threads for row in rows)
    return [row for row in rows if row.threads == threads]


def _pool_json(fit: PoolFit) -> dict[str, Any]:
    phases = fit.phases
    return {
        "requests": fit.requests,
        "means": [
            {"batch": batch, "of_profile": each.value, "ci": list(each.interval)}
            for batch, each in zip(fit.batches, fit.corrections, strict=True)
        ],
        "contention": {"c": list(fit.contention), "slope_ci": list(fit.slope.interval)},
        "load": {"slope": fit.load_effect.slope.value, "slope_ci": list(fit.load_effect.slope.interval)},
        "idleness": [
            {"idle_ms": idle_s * 1e3, "longer_us": each.value * 1e6, "ci": _scaled(each.interval, 1e6)}
            for idle_s, each in zip(fit.idleness.idle_s, fit.idleness.longer_s, strict=True)
        ],
        "slowness": None
        if phases is None
        else {
            "factor": phases.factor,
            "mean_slow_s": phases.mean_slow_s,
            "mean_normal_s": phases.mean_normal_s,
            "factor_ci": list(phases.factor_ci),
            "mean_slow_ci_s": list(phases.mean_slow_ci_s),
            "mean_normal_ci_s": list(phases.mean_normal_ci_s),
            "evidence": phases.evidence,
        },
    }


def _scaled(interval: tuple[float, float], by: float) -> list[float]:
    return [end * by for end in interval]
