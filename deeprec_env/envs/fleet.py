"""`DeepRec/Fleet-v0`: serve a day of traffic on groups of nodes with as little energy as the target allows."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from deeprec_env.arguments import choice
from deeprec_env.envs.fleet_task import FleetTask
from deeprec_env.envs.rendering import Picture
from deeprec_env.envs.task import Task
from deeprec_env.envs.task_source import ScenarioSource, TaskSource, task_source
from deeprec_env.envs.traffic_env import TrafficEnv
from deeprec_env.fleet.setting import NODES
from deeprec_env.simulation.engine import Engine
from deeprec_env.simulation.engines import ENGINES
from deeprec_env.workload.stream import Traffic


class FleetNodesEnv(TrafficEnv):
    """A fleet in place of a node, under a `FleetTask`."""

    _task: FleetTask

    def __init__(self, task: Task | TaskSource, engine: str = "compiled", render_mode: str | None = None) -> None:
        choice("engine", engine, ENGINES)
        super().__init__(task, engine, render_mode)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the observation's entries, in order."""
        return self._task.fields

    @property
    def controls(self) -> tuple[str, ...]:
        """What an action chooses, in its order: "GROUP.CONTROL"."""
        return self._task.controls

    @property
    def ladders(self) -> dict[str, tuple[Any, ...]]:
        """What each of the `controls` is an index into."""
        return {name: self._task.ladders[name] for name in self.controls}

    def _make_engine(self, traffic: Traffic) -> Engine:
        from deeprec_env.fleet.stepped_engines import make_stepped  # compiled code: loaded when it is needed

        return cast(Engine, make_stepped(self.scenario, traffic, self.engine_name))

    def _described(self) -> str:
        if not self._frames:
            return f"window 0/{self.windows}: nothing has happened yet\n"
        window: Any = self._frames[-1].window
        setting: Any = self._frames[-1].setting
        percentiles = ", ".join(f"{value * 1e3:.3g}" for value in (window.p50_s, window.p95_s, window.p99_s))
        lines = [
            f"window {len(self._frames)}/{self.windows}, {window.end_s:.3f} s",
            f"load: {window.offered_qps:.0f} queries/s in, {window.completed_qps:.0f} out, "
            f"{window.backlog:.0f} in flight",
            f"p50, p95, p99: {percentiles} ms, target {self.scenario.sla_ms:g} ms, "
            f"{window.violation_rate:.1%} over it; {window.energy_j / (window.end_s - window.begin_s):.0f} W",
        ]
        for name, group in zip(setting.names, window.groups, strict=True):
            threshold = setting.level(f"{name}.threshold")
            lines.append(
                f"{name}: {group.serving:.0f} nodes serve, {group.starting:.0f} start, {group.draining:.0f} drain; "
                f"batch size {setting.level(f'{name}.batch_size')}, "
                f"threshold {'never' if threshold is None else threshold}; "
                f"CPU {group.cpu_utilisation:.0%}, accelerator {group.accelerator_utilisation:.0%}"
            )
        return "\n".join(lines) + "\n"

    def _drawn(self) -> Picture:
        groups = self.scenario.group_scenarios
        shown = next((group for group in groups if group.has_accelerator), groups[0])
        ladders = self._task.ladders
        counts = {name: levels for name, levels in ladders.items() if name.endswith(f".{NODES}")}
        if len(counts) == 1:
            counts |= {name: ladders[name] for name in self.controls[:1]}
        return Picture(shown, self._task.interval_s, counts)


class FleetEnv(FleetNodesEnv):
    """Control of a fleet: batch size and threshold of each group's nodes, and how many of them are on.

    ## Description
    Groups of like nodes behind a router serve a day of traffic. Once every `control.interval_s` the agent sets, for
    each group, batch size and offload threshold, in force for the queries that enter its nodes from then on, and how
    many of its nodes are on. A node that is turned on draws idle power for its group's `start_s` and then serves, its
    queues empty. One that is turned off gets no more queries, finishes what it has, drawing power as before, and is
    off. Of too many nodes those that are starting go first, then the highest-numbered; of too few those that still
    drain come back first, at once, then the lowest-numbered. A fleet always has a node that serves: where none would,
    the first that did goes on until another one is up and the next action is taken. An episode is one day of the
    scenario's diurnal arrivals or, with other arrivals, 96 windows.

    ## Action space
    `MultiDiscrete([batch sizes, thresholds, nodes] for each group)`: indices into the groups' ladders, for the default
    scenario `MultiDiscrete([7, 7, 7, 7, 1, 7])`; `controls` has their names, `ladders` what they are indices into. The
    ladder of nodes holds every number from 0 (behind the routers by-size and weighted from 1) to the group's count (65
    numbers in equal steps of groups with more). With `reward="tail"` nodes are no part of it: all are on.

    ## Observation space
    `Box(-1, 10, (39,), float32)` for the default scenario, whose groups are t4 and milan, each entry clipped to it; of
    other scenarios each group has its 14 entries. The sample of a window is the latency, seen from the router, of every
    query that was answered in it, and the age of every query in flight at its end that is older than the target; that
    of a group, of the queries that entered its nodes. What a rate is measured by is the rate at which the busiest pools
    are full under the best settings, of all nodes or those of the group. `fields` has the names.

    | entry | field | what it holds |
    |---|---|---|
    | 0, 1, 2 | p50, p95, p99 | percentiles of the window's sample / target |
    | 3 | violation_rate | share of the sample over the target |
    | 4, 5 | offered, completed | arrivals, answers a second / what all nodes carry |
    | 6 | mean_items | mean size of the window's arrivals / the distribution's mean |
    | 7 | backlog | ln(1 + queries in flight / (what all nodes carry x target)) |
    | 8 | power | energy of the window / that of all nodes fully busy |
    | 9, 10 | t4.offered, t4.mean_items | as above, of the queries that entered the group's nodes |
    | 11, 12 | t4.cpu_utilisation, t4.accelerator_utilisation | busy share of the nodes that were up, or drained |
    | 13, 14 | t4.p95, t4.p99 | percentiles of the group's sample / target |
    | 15, 16 | t4.backlog, t4.power | as above, of the group |
    | 17, 18, 19 | t4.serving, t4.starting, t4.draining | nodes at the window's end / all of the group |
    | 20, 21, 22 | t4.batch_size, t4.threshold, t4.nodes | position of what is in force on its ladder, 0 to 1 |
    | 23, 24 | milan.offered, milan.mean_items | the same of the second group |
    | 25, 26 | milan.cpu_utilisation, milan.accelerator_utilisation | |
    | 27 to 30 | milan.p95, milan.p99, milan.backlog, milan.power | |
    | 31, 32, 33 | milan.serving, milan.starting, milan.draining | |
    | 34, 35, 36 | milan.batch_size, milan.threshold, milan.nodes | |
    | 37, 38 | day_sin, day_cos | sine and cosine of the time of day; both 0 where traffic has no day |

    ## Reward
    `reward="energy"` (default): - e - 5 v - max(0, ln(p95 / target)) - max(0, ln(p99 / limit)), with e the window's
    energy in that of all nodes fully busy, v the violation rate of its sample, and limit `p99_factor` x target. The
    day's energy per query is proportional to the sum of e. `reward="tail"`, with all nodes on: with x = p95 / target,
    (1 - x if x <= 1 else -ln x) - 5 v, 0 for an empty sample.

    ## Starting state
    All nodes on and empty, with the groups' settings; the first observation is of an empty window. `reset(seed=S)`
    starts the first episode of the stream of S, `reset()` goes on with the next. `reset(options={"split": ...})`:
    "train" (default), "validation" or "test", disjoint by construction. In training a diurnal day is scaled each
    episode by a factor from U(0.4, 1.1) / 0.9, so that agents have seen other peaks than the file's.

    ## Episode end
    Truncation after the last window; no episode terminates.

    ## Arguments
    `scenario`: preset name, YAML file or mapping with a `fleet` whose groups are nodes of one stage without further
    controls. `engine`: "compiled" or "asyncio", which give the same bytes; routers and latencies of your own need
    "asyncio". `reward`: "energy" or "tail". `render_mode`: "ansi" (lines) or "rgb_array" (a picture of the episode so
    far; needs the extra "plots"). Pickling and copying work in mid-episode: the copy replays the actions so far. The
    attribute `windows` is the length of an episode; set before `reset`, it makes episodes longer or shorter.
    `scenario` may also be a function of a generator (a `numpy.random.Generator`, a child of the episode's seed of its
    own), or its name as "module:function": it draws a `Scenario` for every episode, all with the same groups' names
    and ladders.

    ## Info
    Flat floats: the keys of `DeepRec/Serving-v1` of the whole fleet (batch_size and threshold: means over the nodes
    that are on), and of each group "GROUP.KEY" with p50_ms, p95_ms, p99_ms, violation_rate, offered_qps,
    completed_qps, mean_items, cpu_utilisation, accelerator_utilisation, backlog, energy_j, serving, starting, draining.

    ## Version history
    v0: first version.
    """

    def __init__(
        self,
        scenario: ScenarioSource = "fleet-wnd",
        engine: str = "compiled",
        reward: str = "energy",
        render_mode: str | None = None,
    ) -> None:
        super().__init__(task_source(scenario, partial(FleetTask, reward=reward)), engine, render_mode)
