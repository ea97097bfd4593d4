"""Simulated tails of random services: made once, a file for some services at a time, gone on with where it stopped."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeprec_env.agents.generalist.services import draw_service, draw_settings
from deeprec_env.files import make_folder, replacing_path
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting, threshold_number
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.rates import PlannedRun
from deeprec_env.sources import COMPILED, sources_digest
from deeprec_env.workload.stream import QueryStream

SETTINGS, RATES, QUERIES, WARMUP = 16, 6, 6000, 1000
"""Of a service; of a setting; of a rate."""

HIGHEST_LOAD = 0.99
"""Rates are spread evenly up to this load of a setting's busiest pool."""

IN_A_FILE = 20


@dataclass(frozen=True)
class Simulated:
    """A service and the tails of its settings: `qps` is (settings, rates), `tails_s` (settings, rates, 2)."""

    scenario: Scenario
    settings: tuple[Setting, ...]
    qps: Floats
    tails_s: Floats


def service(seed: int, number: int) -> tuple[Scenario, list[Setting], np.random.Generator]:
    """The service of a number with its settings, and the generator of all that is drawn for it after that."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, number]))
    scenario = draw_service(rng)
    return scenario, draw_settings(rng, scenario, SETTINGS), rng


def simulate_service(seed: int, number: int) -> tuple[Floats, Floats]:
    """Rates and tails of a service: (settings, rates) and (settings, rates, 2), p95 and p99 in seconds."""
    scenario, settings, rng = service(seed, number)
    qps, tails_s = np.empty((len(settings), RATES)), np.empty((len(settings), RATES, 2))
    for row, setting in enumerate(settings):
        most_qps = min(demand.saturation_qps for demand in service_demands(scenario, setting))
        load = HIGHEST_LOAD * (np.arange(RATES) + rng.random(RATES)) / RATES
        qps[row] = load * most_qps
        stream = QueryStream(scenario.workload, np.random.SeedSequence([seed, number, row]))
        run = PlannedRun(scenario.with_setting(setting), stream.draw(QUERIES))
        tails_s[row] = run.tails(qps[row], WARMUP)[:, 2:]
    return qps, tails_s


def make_data(folder: Path, services: int, seed: int, processes: int, progress: Callable[[int], None]) -> None:
    """Simulate the services whose files are not there yet; `progress` is told how many services are done more."""
    make_folder("output", folder)
    missing = []
    for first in range(0, services, IN_A_FILE):
        if _file(folder, seed, first).exists():
            progress(IN_A_FILE)
        else:
            missing.append(first)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("forkserver")) as pool:
        try:
            for done in as_completed([pool.submit(_make_file, folder, seed, first) for first in missing]):
                done.result()
                progress(IN_A_FILE)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def read_data(folder: Path, services: int, seed: int) -> list[Simulated]:
    """The simulated services, drawn anew, with the tails from the files."""
    found = []
    for first in range(0, services, IN_A_FILE):
        with np.load(_file(folder, seed, first), allow_pickle=False) as file:
            held = dict(file)
        for number in range(first, first + IN_A_FILE):
            scenario, settings, _ = service(seed, number)
            numbers = np.array([[setting.batch_size, threshold_number(setting.threshold)] for setting in settings])
            assert np.array_equal(held[f"settings{number}"], numbers)
            found.append(Simulated(scenario, tuple(settings), held[f"qps{number}"], held[f"tails_s{number}"]))
    return found


def _make_file(folder: Path, seed: int, first: int) -> None:
    held = {}
    for number in range(first, first + IN_A_FILE):
        settings = service(seed, number)[1]
        held[f"settings{number}"] = np.array([[each.batch_size, threshold_number(each.threshold)] for each in settings])
        held[f"qps{number}"], held[f"tails_s{number}"] = simulate_service(seed, number)
    with replacing_path(_file(folder, seed, first)) as path, path.open("wb") as file:
        np.savez(file, allow_pickle=False, **held)


def _file(folder: Path, seed: int, first: int) -> Path:
    """By the code that simulates too: what another would give is not taken for it."""
    sources = sources_digest((*COMPILED, "agents/generalist/services.py"))[:8]
    return folder / f"services-{sources}-{SETTINGS}x{RATES}x{QUERIES}-{seed}-{first:06d}.npz"
