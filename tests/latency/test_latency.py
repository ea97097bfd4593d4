from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

from deeprec_env import InputError, simulate
from deeprec_env.latency import Profile, load_profile
from deeprec_env.latency.estimate import SPEED_UPS, estimate
from deeprec_env.latency.normal import normal_quantile
from deeprec_env.latency.table import LEVELS, ProfileRow, ProfileTable, read_profile, write_profile
from deeprec_env.scenario.parts import LATENCIES
from tests.conftest import MODEL_PROFILE, queue


def latency(**parameters: Any) -> Any:
    return LATENCIES._kinds[parameters["kind"]].model_validate(parameters)


U = (np.arange(400_000) + 0.5) / 400_000


@pytest.mark.parametrize(
    "parameters",
    [
        {"kind": "affine", "base_ms": 1.0, "per_item_ms": 0.1, "cv": 0.3},
        {"kind": "affine", "base_ms": 1.0, "per_item_ms": 0.1},
        {"kind": "constant", "ms": 3.0},
        {"kind": "exponential", "mean_ms": 2.0},
        {"kind": "profile", "profile": "amd-epyc-milan", "model": "wnd"},
        {"kind": "profile", "profile": "gtx-1080-ti-estimated", "model": "ncf"},
    ],
    ids=lambda parameters: parameters["kind"],
)
@pytest.mark.parametrize("items", [1, 37, 1000])
def test_the_mean_over_the_noise_is_the_mean(parameters: dict[str, Any], items: int) -> None:
    model = latency(**parameters)
    drawn = model.base_s(np.full(len(U), items), U)
    assert drawn.min() > 0
    assert (np.diff(drawn) >= 0).all()
    assert drawn.mean() == pytest.approx(float(model.mean_s(np.array([items]))[0]), rel=1e-4)


def test_parametric_models_are_their_formulas() -> None:
    u, items = np.array([0.25, 0.5, 0.9]), np.array([1, 10, 100])
    affine = latency(kind="affine", base_ms=2.0, per_item_ms=0.5, cv=0.4)
    variance = math.log(1.16)
    median = (2.0 + 0.5 * 10) * 1e-3 * math.exp(-variance / 2)
    assert affine.base_s(items, u)[1] == pytest.approx(median)
    drawn = affine.base_s(np.full(len(U), 10), U)
    assert drawn.std() / drawn.mean() == pytest.approx(0.4, rel=0.01)
    assert latency(kind="exponential", mean_ms=2.0).base_s(items, u) == pytest.approx(-2e-3 * np.log(1 - u))


@pytest.fixture
def toy(profile_csv: Path) -> Profile:
    return Profile(kind="profile", profile=str(profile_csv), model="toy")


def test_a_profile_is_linear_in_the_batch_and_in_the_level(toy: Profile) -> None:
    assert toy.mean_s(np.array([1, 10, 55, 100])) * 1e3 == pytest.approx([1.0, 2.8, 11.8, 20.8])
    at_median = toy.base_s(np.array([10, 55, 100]), np.full(3, 0.5)) * 1e3
    assert at_median[1] == pytest.approx((at_median[0] + at_median[2]) / 2)
    between = toy.base_s(np.full(3, 10), np.array([0.5, 0.625, 0.75]))
    assert between[1] == pytest.approx((between[0] + between[2]) / 2)
    tails = toy.base_s(np.full(4, 10), np.array([1e-9, 0.01, 0.99, 1 - 1e-9]))
    assert (tails[0], tails[2]) == (tails[1], tails[3])


def test_behind_the_last_batch_a_profile_goes_on_by_its_slope_and_says_so_once(toy: Profile) -> None:
    with pytest.warns(UserWarning, match="200 items are larger than the largest measured batch"):
        far = toy.mean_s(np.array([200]))
    toy.mean_s(np.array([300]))  # a second warning would be an error
    assert far[0] * 1e3 == pytest.approx(20.8 + 100 * (20.8 - 2.8) / 90)


def test_parts_add_up(tmp_path: Path) -> None:
    quantiles = tuple(1.0 + 0.1 * level for level in range(len(LEVELS)))
    rows = [
        ProfileRow("toy", "cuda", batch, part, 100, mean, quantiles)
        for batch in (1, 8)
        for part, mean in (("compute", 3.0), ("load", 2.0))
    ]
    path = tmp_path / "gpu.csv"
    write_profile(path, {"made by": "a test"}, rows)
    assert read_profile(path).header == {"made by": "a test"}
    model = Profile(kind="profile", profile=str(path), model="toy")
    assert model.mean_s(np.array([4])) * 1e3 == pytest.approx([5.0])


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("batch,part", "batch,prt", "lacks the column part"),
        ("0.8,0.85", "0.9,0.85", "line 3, p05_ms: got 0.85; quantiles must ascend; the one before is 0.9"),
        ("toy,cpu,1,", "toy,cpu,0,", "line 3, batch: got '0'; must be a whole number of at least 1"),
        ("100,1.0,", "100,-1.0,", "line 3, mean_ms"),
        ("100,1.0,", "100,nan,", "line 3, mean_ms"),
        ("compute,100,2.8", "load,100,2.8", "must hold the same batches for every part"),
        ("toy,cpu,10,", "toy,cpu,1,", "twice"),
        ("20.8,20.0,20.2,20.4,20.6,20.8,21.0,21.2,21.4,21.6", "1,1,1,1,1,1,1,1,1,1", "falls from batch 10 to 100"),
    ],
)
def test_a_bad_profile_is_refused_with_its_line(profile_csv: Path, before: str, after: str, message: str) -> None:
    assert before in MODEL_PROFILE
    profile_csv.write_text(MODEL_PROFILE.replace(before, after), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        Profile(kind="profile", profile=str(profile_csv), model="toy")


def test_unknown_profiles_models_and_devices_are_refused(profile_csv: Path) -> None:
    with pytest.raises(ValueError, match="must be a profile CSV or one of"):
        Profile(kind="profile", profile="nowhere", model="toy")
    with pytest.raises(ValueError, match="holds toy"):
        Profile(kind="profile", profile=str(profile_csv), model="ncf")
    with pytest.raises(ValueError, match="needs one of cpu"):
        Profile.model_validate({"kind": "profile", "profile": str(profile_csv), "model": "toy", "device": "tpu"})


def test_shipped_profiles_hold_all_models_with_their_machine() -> None:
    measured = load_profile("amd-epyc-milan")
    assert set(measured.models()) == set(SPEED_UPS)
    assert {"cpu", "torch", "threads", "date", "rows_scale", "index_distribution", "seed"} <= set(measured.header)
    assert all(row.repeats >= 100 for row in measured.rows)
    assert {row.batch for row in measured.rows} >= {2**power for power in range(11)}


def test_the_shipped_estimate_is_the_shipped_measurement_divided_by_the_published_speed_up() -> None:
    shipped, again = load_profile("gtx-1080-ti-estimated"), estimate(load_profile("amd-epyc-milan"))
    assert "ESTIMATED" in shipped.header
    assert {row.device for row in shipped.rows} == {"gtx-1080-ti-estimated"}
    assert len(shipped.rows) == len(again.rows) == 6 * 8
    for have, want in zip(shipped.rows, again.rows, strict=True):
        assert (have.model, have.batch) == (want.model, want.batch)
        assert have.mean_ms == pytest.approx(want.mean_ms, rel=1e-5)


def test_linear_interpolation_of_published_latencies(shared: Path) -> None:
    """Five batches of Kairos's measurements predict the other 95 within a few per cent (reference: 3.3 %)."""
    import csv

    with (shared / "kairos_latency_ms.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "compute"]
    errors = []
    for instance, model in sorted({(row["instance"], row["model"]) for row in rows}):
        medians = {
            int(row["batch"]): float(row["p50"]) for row in rows if (row["instance"], row["model"]) == (instance, model)
        }
        table = _profile_of(medians, [10, 250, 500, 750, 1000])
        predicted = table.mean_s(np.array(sorted(medians))) * 1e3
        errors += [abs(have / medians[batch] - 1) for batch, have in zip(sorted(medians), predicted, strict=True)]
    assert np.mean(errors) < 0.06


def _profile_of(medians: dict[int, float], batches: list[int]) -> Profile:
    import tempfile

    rows = [ProfileRow("m", "d", b, "compute", 100, medians[b], (medians[b],) * len(LEVELS)) for b in batches]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kairos.csv"
        write_profile(path, {}, ProfileTable({}, tuple(rows)).rows)
        return Profile(kind="profile", profile=str(path), model="m")


def test_the_normal_quantile_is_scipys() -> None:
    u = np.concatenate([U[::40], 10.0 ** -np.arange(1, 17), 1 - 10.0 ** -np.arange(1.0, 16.0)])
    mine = np.array([normal_quantile(value) for value in u])
    assert mine == pytest.approx(ndtri(u), rel=1e-13, abs=1e-15)


def test_profiles_of_another_content_differ(profile_csv: Path) -> None:
    before, same = (Profile(kind="profile", profile=str(profile_csv), model="toy") for _ in range(2))
    assert before == same
    assert hash(before) == hash(same)
    text = profile_csv.read_text(encoding="utf-8")
    profile_csv.write_text(text.replace("100,compute,100,20.8", "100,compute,100,41.6"), encoding="utf-8")
    after = Profile(kind="profile", profile=str(profile_csv), model="toy")
    assert len({before, same, after}) == 2
    assert before != after.model_copy(update={"device": "cpu"}) != after


LEVELS_MORE = np.array([*LEVELS, 0.999])


def exponential_profile(path: Path, *, levels: Any = LEVELS_MORE, batches: tuple[int, ...] = (1, 100)) -> Path:
    """A profile of exponential latencies, of mean 2 ms at batch 1 and 0.1 ms more an item."""
    rows = []
    for batch in batches:
        mean_ms = 2.0 + 0.1 * (batch - 1)
        rows.append(ProfileRow("m", "cpu", batch, "compute", 9, mean_ms, tuple(-mean_ms * np.log1p(-levels))))
    write_profile(path, {}, rows)
    return path


@pytest.mark.parametrize(("levels", "tail"), [(LEVELS_MORE, None), (np.array(LEVELS), "exponential")])
def test_beyond_its_last_level_a_profile_has_an_exponential_tail(tmp_path: Path, levels: Any, tail: str | None) -> None:
    path = exponential_profile(tmp_path / "p.csv", levels=levels)
    profile = Profile(kind="profile", profile=str(path), model="m", tail=tail)
    last = float(levels[-1])
    u = np.concatenate([[last], 1.0 - (1.0 - last) * 10.0 ** -np.arange(0.5, 9.0)])
    for items, mean_s in ((1, 2e-3), (50, 6.9e-3), (100, 11.9e-3), (300, 31.9e-3)):  # between, at and behind batches
        if items > 100:
            with pytest.warns(UserWarning, match="larger than the largest"):
                profile.mean_s(np.array([items]))
        drawn = profile.base_s(np.full(len(u), items), u)
        # Of an exponential the tail beyond any level is exponential: the quantiles are those of the whole, up to the
        # one factor that brings the mean (below the last level linear between levels) back to the measured mean.
        factor = drawn / (-mean_s * np.log1p(-u))
        assert factor == pytest.approx(np.full(len(u), factor[0]), rel=1e-5)
        assert factor[0] == pytest.approx(1.0, abs=0.05)
        assert float(profile.mean_s(np.array([items]))[0]) == pytest.approx(mean_s, rel=1e-5)
        # The mean: trapezoids between the levels, and (1 - l) (q(l) + scale) beyond the last, l.
        ladder = np.array([levels[0], *levels])
        below = profile.base_s(np.full(len(ladder), items), ladder)
        beyond = (1.0 - last) * (below[-1] + factor[0] * mean_s)
        assert np.trapezoid(below, np.array([0.0, *levels])) + beyond == pytest.approx(mean_s, rel=1e-5)


def test_without_a_further_level_or_where_it_says_so_a_profile_is_cut(tmp_path: Path, toy: Profile) -> None:
    path = exponential_profile(tmp_path / "p.csv")
    u, one = np.array([0.999, 1 - 1e-9]), np.array([1, 1])
    cut = Profile(kind="profile", profile=str(path), model="m", tail="cut")
    assert cut.base_s(one, u)[0] == cut.base_s(one, u)[1]
    tailed = Profile(kind="profile", profile=str(path), model="m")
    assert tailed.base_s(one, u)[1] > 2 * tailed.base_s(one, u)[0]
    assert len({cut.fingerprint, tailed.fingerprint, toy.fingerprint}) == 3
    assert cut != tailed != tailed.model_copy(update={"tail": "exponential"})
    assert ("tail" in cut.model_dump(), "tail" in tailed.model_dump()) == (True, False)
    assert cut.at_threads(1) == Profile(kind="profile", profile=str(path), model="m", tail="cut", threads=1)
    # A row that has no further level, beside rows that do: the levels that all have.
    text = path.read_text(encoding="utf-8").splitlines()
    text[-1] = text[-1].rpartition(",")[0] + ","
    path.write_text("\n".join(text), encoding="utf-8")
    mixed = Profile(kind="profile", profile=str(path), model="m")
    assert mixed.base_s(one, u)[0] == mixed.base_s(one, u)[1] < cut.base_s(one, u)[0]
    write_profile(path, *(lambda table: (table.header, table.rows))(read_profile(path)))
    assert Profile(kind="profile", profile=str(path), model="m") == mixed
    path.write_text("\n".join(text).replace(",13.8155", ",1.38155"), encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2, p999_ms: got 1\.38155; quantiles must ascend"):
        read_profile(path)


def test_a_tailed_profile_is_the_same_on_both_engines_and_its_tail_is_seen(tmp_path: Path) -> None:
    latency = {"kind": "profile", "profile": str(exponential_profile(tmp_path / "p.csv")), "model": "m"}
    scenario = queue(4, latency, 400.0)
    runs = [simulate(scenario, queries=30_000, seed=3, engine=engine) for engine in ("compiled", "asyncio")]
    stages = [run.records.stages[0] for run in runs]
    assert (stages[0].start_s == stages[1].start_s).all()
    assert (stages[0].end_s == stages[1].end_s).all()
    service_ms = (stages[0].end_s - stages[0].start_s) * 1e3
    assert service_ms.mean() == pytest.approx(2.0, rel=0.03)
    beyond = service_ms[service_ms > Profile.model_validate(latency).base_s(np.array([1]), np.array([0.999]))[0] * 1e3]
    assert len(beyond) == pytest.approx(30, abs=18)
    assert len(np.unique(beyond)) == len(beyond)
