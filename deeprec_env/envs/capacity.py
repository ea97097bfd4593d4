"""`DeepRec/Capacity-v0`: find the settings that carry the most queries a second within the target."""

from __future__ import annotations

from functools import partial

from deeprec_env.envs.capacity_task import CapacityTask
from deeprec_env.envs.node_env import NodeEnv
from deeprec_env.envs.task_source import ScenarioSource, task_source


class CapacityEnv(NodeEnv):
    """Control of batch size and offload threshold while the load rises for as long as the target is met.

    ## Description
    DeepRecSched's problem, step by step. Queries arrive as a Poisson process whose rate stands on a grid of steps of
    5 %, 0.10 to 1.63 times the reference: the scenario's capacity (without one, the highest rate at which some setting
    of its ladders leaves every pool able to do its work). After each window of `control.interval_s`, at least two
    targets long (presets: 360 to 1300 queries at the reference), the rate goes one step up if p95 of the window's
    sample is below target / 1.1, one step down if it is above the target; else, or if the sample is empty, it stays.
    That is the rule of DeepRecSys's repository, with windows of fixed length. An episode is 256 windows. Of the
    scenario's own traffic the sizes are used, its arrivals are not.

    ## Action space
    `MultiDiscrete([batch sizes, thresholds])`: indices into the scenario's ladders (`batch_sizes`, `thresholds`), in
    force for the queries that arrive from now on.

    ## Observation space
    `Box(-1, 10, (13,), float32)`, each entry clipped to it. The sample of a window is the latency of every query that
    completed in it and the age of every query in flight at its end that is older than the target.

    | entry | field | what it holds |
    |---|---|---|
    | 0, 1, 2 | p50, p95, p99 | percentiles of the window's sample / target |
    | 3 | violation_rate | share of the sample over the target |
    | 4 | offered | arrivals a second / the reference |
    | 5 | completed | completions a second / the reference |
    | 6 | mean_items | mean size of the window's arrivals / the distribution's mean |
    | 7, 8 | cpu_utilisation, accelerator_utilisation | busy share of the busiest pool of the kind (0 without one) |
    | 9 | backlog | ln(1 + queries in flight / (the reference x target)) |
    | 10, 11 | batch_size, threshold | position of the settings in force on their ladders, 0 to 1 |
    | 12 | load | position on its grid of the rate of the window to come, 0 to 1 |

    ## Reward
    `reward="carried"` (default): queries a second that completed in the window within the target / the reference.
    `reward="efficiency"`: that less 0.5 e, e the window's energy in that of all pools fully busy (0 for an empty
    sample).

    ## Starting state
    An empty node with the scenario's settings; the first observation is of an empty window. The first rate is drawn
    each episode, in every split: uniform over the grid's points from 0.36 to 0.71 of the reference. `reset(seed=S)`
    starts the first episode of the stream of S, `reset()` goes on with the next. `reset(options={"split": ...})`:
    "train" (default), "validation" or "test", disjoint by construction. One seed is the same traffic under all actions,
    stretched: the same sizes and service noise, and the points of one Poisson process of rate 1, mapped window by
    window.

    ## Episode end
    Truncation after the last window; no episode terminates.

    ## Arguments
    `scenario`: preset name, YAML file or mapping. `engine`: "compiled" or "asyncio", which give the same bytes.
    `reward`: "carried" or "efficiency". `render_mode`: "ansi" (lines) or "rgb_array" (a picture of the episode so far;
    needs the extra "plots"). Pickling and copying work in mid-episode: the copy replays the actions so far. The
    attribute `windows` is the length of an episode; set before `reset`, it makes episodes longer or shorter.
    `info` has the keys of `ServingEnv`'s and `carried_qps`, `load_qps` (the rate to come) and `reference_qps`.
    `scenario` may also be a function of a generator (a `numpy.random.Generator`, a child of the episode's seed of its
    own), or its name as "module:function": it draws a `Scenario` for every episode. All that it draws have the spaces,
    and the length of an episode, of a first one, drawn with a generator of seed 0. `ladders="common"`: a node without
    accelerator takes the full ladder of thresholds and ignores it (null stays in force, in `info` and observation).

    ## Version history
    v0: first version.
    """

    _task: CapacityTask

    def __init__(
        self,
        scenario: ScenarioSource = "dlrm-rmc1",
        engine: str = "compiled",
        reward: str = "carried",
        render_mode: str | None = None,
        ladders: str | None = None,
    ) -> None:
        super().__init__(
            task_source(scenario, partial(CapacityTask, reward=reward, ladders=ladders)), engine, render_mode
        )
