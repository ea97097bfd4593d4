"""A setting is whole numbers within bounds, whoever gives it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprec_env import InputError, load_scenario, simulate
from deeprec_env.scenario.setting import Setting
from deeprec_env.scenario.threshold import read_threshold
from deeprec_env.simulation.checks import check_setting
from tests.conftest import day_scenario


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("batch_size", (3.5, 3.0, 0, -1, 10**9 + 1, True, "8", None, np.float64(4), math.inf)),
        ("threshold", (10.5, 0, -4, 10**9 + 1, False, "many", "6" * 5000, -math.inf, math.nan, [64])),
        ("plan", (0.5, -1, None, "p")),
    ],
)
def test_what_is_no_whole_number_within_bounds_is_refused_by_name(field: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(InputError, match=rf"^{field}: got .*must be"):
            Setting(**({"batch_size": 8} | {field: value}))


@pytest.mark.parametrize("engine", ["compiled", "asyncio"])
@pytest.mark.parametrize("change", [{"batch_size": 3.5}, {"threshold": 10.5}])
def test_both_engines_refuse_what_is_no_whole_number(engine: str, change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        simulate("wnd", queries=1200, engine=engine, **change)


settings = st.builds(Setting, st.integers(1, 10**9), st.none() | st.integers(1, 10**9), st.integers(0, 10**9))


@given(setting=settings)
def test_numbers_hold_a_setting_whole(setting: Setting) -> None:
    assert Setting.of(np.array(setting.numbers)) == setting
    assert all(type(number) is float for number in setting.numbers)


def test_whole_numbers_of_numpy_are_taken_as_pythons() -> None:
    setting = Setting(np.int64(8), np.int32(64), np.uint8(1))
    assert setting == Setting(8, 64, 1)
    assert [type(value) for value in (setting.batch_size, setting.threshold, setting.plan)] == [int] * 3


def test_an_action_and_its_setting_are_one() -> None:
    scenario = load_scenario("wnd")
    every = scenario.settings()
    assert len(every) == len(set(every)) == len(scenario.control.batch_sizes) * len(scenario.thresholds)
    width = len(scenario.thresholds)
    assert [scenario.action(setting) for setting in every] == [divmod(i, width) for i in range(len(every))]
    with pytest.raises(ValueError, match="not in"):
        scenario.action(Setting(7))


def test_a_node_says_what_it_can_not_take() -> None:
    with pytest.raises(InputError, match="threshold: got 64; must be null"):
        check_setting(load_scenario("wnd-cpu"), Setting(8, 64))
    with pytest.raises(InputError, match="plan: got 1"):
        check_setting(load_scenario("wnd"), Setting(8, 64, 1))


def test_a_threshold_is_read_the_same_way_from_everywhere() -> None:
    for never in (None, math.inf, np.inf, "never", "NULL", "None", "inf", "-", "Never "):
        assert read_threshold(never) is None
        assert Setting(8, never).threshold is None  # type: ignore[arg-type]
    assert read_threshold("64") == read_threshold(np.int64(64)) == 64
    data = day_scenario(control={"threshold": "never", "thresholds": ["inf", 64]})
    assert load_scenario(data).thresholds == (None, 64)
    assert load_scenario(data).setting.threshold is None
