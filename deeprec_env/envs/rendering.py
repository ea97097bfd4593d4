"""Pictures of an episode: a few lines of text, or curves drawn with Matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.extras import check_installed
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting, threshold_number
from deeprec_env.simulation.windows import Window

RENDER_MODES = ("ansi", "rgb_array")

WIDTH, HEIGHT = 800, 600
"""Pixels of a picture."""

_TITLES = {
    "batch_size": "batch size",
    "threshold": "threshold (items)",
    "plan": "plan",
    "offload": "offload (items)",
    "order": "order",
    "admit_ms": "admission limit (ms)",
}


_FURTHER = {"offload": ", offload at {}", "order": ", order {}", "admit_ms": ", admission limit (ms) {}"}


class Frame(NamedTuple):
    """A window and the setting that was in force in it."""

    window: Window
    setting: Setting


def describe(scenario: Scenario, frames: Sequence[Frame], windows: int) -> str:
    """The last of the windows in four lines; `windows` is how many an episode has."""
    if not frames:
        return f"window 0/{windows}: nothing has happened yet\n"
    window, setting = frames[-1]
    settings = f"batch size {setting.batch_size}, threshold {_name(setting.threshold)}"
    settings += "".join(
        _FURTHER[name].format(_name(setting.level(name))) for name in scenario.controls if name in _FURTHER
    )
    if scenario.plans:
        settings += f", plan {scenario.plan_names[setting.plan]}"
    verdict = "within" if window.p95_s <= scenario.sla_s else "over"
    percentiles = ", ".join(f"{value * 1e3:.3g}" for value in (window.p50_s, window.p95_s, window.p99_s))
    busy = f"CPU {window.cpu_utilisation:.0%}"
    if scenario.has_accelerator:
        busy += f", accelerator {window.accelerator_utilisation:.0%}"
    return (
        f"window {len(frames)}/{windows}, {window.end_s:.3f} s: {settings}\n"
        f"load: {window.offered_qps:.0f} queries/s in, {window.completed_qps:.0f} out, {window.backlog:.0f} in flight\n"
        f"p50, p95, p99: {percentiles} ms; p95 {verdict} the target of {scenario.sla_ms:g} ms, "
        f"{window.violation_rate:.1%} over it\n"
        f"busy servers: {busy}\n"
    )


class Picture:
    """Curves over an episode. Of one figure only what moves is drawn anew, unless the axes have to grow."""

    def __init__(self, scenario: Scenario, interval_s: float, ladders: Mapping[str, Sequence[Any]]) -> None:
        """`ladders`: by name, what is chosen from; the two longest are drawn."""
        check_installed("matplotlib")
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        longest = sorted(ladders, key=lambda name: -len(ladders[name]))[:2]
        self._ladders = {name: levels for name, levels in ladders.items() if name in longest}
        figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
        # By hand: a layout engine takes longer than the drawing, and moves the axes from picture to picture.
        figure.subplots_adjust(left=0.09, right=0.98, bottom=0.08, top=0.9, wspace=0.22, hspace=0.35)
        self._canvas: Any = FigureCanvasAgg(figure)
        (rates, latency), (flight, busy), settings = figure.subplots(3, 2, sharex=True)
        self._axes = [rates, latency, flight, busy, *settings]
        for axes, label in zip(
            self._axes,
            (
                "queries/s",
                "p95 (ms)",
                "queries in flight",
                "busy servers (%)",
                *(_TITLES.get(name, name) for name in self._ladders),
            ),
            strict=True,
        ):
            axes.set_title(label, fontsize=10)
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.3)
            axes.set_ylim(0, 1)
        for axes in settings:
            axes.set_xlabel("time (s)", fontsize=9)
        latency.axhline(scenario.sla_ms, color="tab:red", linestyle="--", linewidth=1.2, label="target")
        self._lines = {
            "offered_qps": rates.plot([], [], color="0.6", linewidth=1.2, label="in")[0],
            "completed_qps": rates.plot([], [], color="tab:blue", linewidth=1.2, label="out")[0],
            "p95_ms": latency.plot([], [], color="tab:blue", linewidth=1.2, label="p95")[0],
            "backlog": flight.plot([], [], color="tab:blue", linewidth=1.2)[0],
            "cpu": busy.plot([], [], color="tab:blue", linewidth=1.2, label="CPU")[0],
        }
        for axes, (name, levels) in zip(settings, self._ladders.items(), strict=True):
            self._lines[name] = axes.plot([], [], color="tab:blue", drawstyle="steps-pre", linewidth=1.2)[0]
            _mark_levels(axes, [_name(level) for level in levels])
        if scenario.has_accelerator:
            self._lines["accelerator"] = busy.plot([], [], color="tab:orange", linewidth=1.2, label="accelerator")[0]
        busy.set(ylim=(0, 130), yticks=range(0, 101, 25))
        latency.set(yscale="log", ylim=(scenario.sla_ms / 100, 10 * scenario.sla_ms))
        latency.yaxis.set_major_formatter("{x:g}")
        latency.minorticks_off()
        for axes, place in ((rates, "upper left"), (latency, "lower right"), (busy, "upper left")):
            axes.legend(loc=place, fontsize=8, framealpha=0.6, ncols=2)
        self._interval_s, self._lowest_ms = interval_s, scenario.sla_ms / 100
        self._title = figure.suptitle(" ", fontsize=11)
        for artist in (*self._lines.values(), self._title):
            artist.set_animated(True)  # left out of the background
        self._limits: tuple[float, ...] = ()
        self._background: Any = None

    def draw(self, frames: Sequence[Frame], windows: int) -> NDArray[np.uint8]:
        """The picture of the windows so far, (600, 800, 3), with room for all of an episode's."""
        end_s = np.array([frame.window.end_s for frame in frames])
        for name, values in self._curves(frames).items():
            self._lines[name].set_data(end_s, values)
        self._axes[0].set_xlim(0.0, windows * self._interval_s)
        for axes in (self._axes[0], self._axes[1], self._axes[2]):
            _make_room(axes)
        self._title.set_text(f"window {len(frames)}/{windows}")
        limits = (windows, *(axes.get_ylim()[1] for axes in self._axes))
        if limits != self._limits:
            self._canvas.draw()
            self._limits, self._background = limits, self._canvas.copy_from_bbox(self._canvas.figure.bbox)
        self._canvas.restore_region(self._background)
        for line in self._lines.values():
            line.axes.draw_artist(line)
        self._canvas.figure.draw_artist(self._title)
        return np.asarray(self._canvas.buffer_rgba())[:, :, :3].copy()

    def _curves(self, frames: Sequence[Frame]) -> dict[str, list[float]]:
        curves: dict[str, list[float]] = {
            "offered_qps": [frame.window.offered_qps for frame in frames],
            "completed_qps": [frame.window.completed_qps for frame in frames],
            "p95_ms": [max(frame.window.p95_s * 1e3, self._lowest_ms) for frame in frames],
            "backlog": [frame.window.backlog for frame in frames],
            "cpu": [frame.window.cpu_utilisation * 100 for frame in frames],
        }
        for name, levels in self._ladders.items():
            curves[name] = [_place(frame.setting.level(name), levels) for frame in frames]
        if "accelerator" in self._lines:
            curves["accelerator"] = [frame.window.accelerator_utilisation * 100 for frame in frames]
        return curves


def _place(value: Any, levels: Sequence[Any]) -> float:
    """The index of a value on its ladder; where it is none of the levels between its neighbours, a word below all."""
    if value in levels:
        return levels.index(value)
    if isinstance(value, str):
        return -0.5
    numbers = (threshold_number(level) for level in levels if not isinstance(level, str))
    return sum(number < threshold_number(value) for number in numbers) - 0.5


def _make_room(axes: Any) -> None:
    """Let the axis of values end above the highest of its lines; it grows by halves, to stand still mostly."""
    highest = max((float(np.max(line.get_ydata())) for line in axes.lines if len(line.get_ydata())), default=0.0)
    top = axes.get_ylim()[1]
    while top < 1.2 * highest:
        top *= 1.5
    axes.set_ylim(top=top)


def _mark_levels(axes: Any, names: Sequence[str]) -> None:
    """Name the levels of a ladder on the axis of values, at most seven of them."""
    shown = range(0, len(names), 1 + (len(names) - 1) // 7)
    axes.set_yticks(list(shown), [names[level] for level in shown])
    axes.set_ylim(-0.5, len(names) - 0.5)


def _name(level: Any) -> str:
    if isinstance(level, float):
        return f"{level:g}"
    return "never" if level is None else str(level)
