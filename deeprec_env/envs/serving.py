"""`DeepRec/Serving-v1`: hold the tail of a server low through a day of traffic."""

from __future__ import annotations

from functools import partial

from deeprec_env.envs.serving_task import ServingTask
from deeprec_env.envs.task_source import ScenarioSource, task_source
from deeprec_env.envs.traffic_env import TrafficEnv


class ServingEnv(TrafficEnv):
    """Control of batch size and offload threshold under given traffic.

    ## Description
    A scenario's node serves its traffic in virtual time. Once every `control.interval_s` the agent sets the batch size
    and the offload threshold for the queries that arrive from then on. An episode is one day of the scenario's diurnal
    arrivals (presets: 96 windows of about 200 queries at the mean rate) or, with other arrivals, 96 windows.

    ## Action space
    `MultiDiscrete([batch sizes, thresholds])`: indices into the scenario's ladders (`batch_sizes`, `thresholds`).

    ## Observation space
    `Box(-1, 10, (14,), float32)`, each entry clipped to it. The sample of a window is the latency of every query that
    completed in it and the age of every query in flight at its end that is older than the target.

    | entry | field | what it holds |
    |---|---|---|
    | 0, 1, 2 | p50, p95, p99 | percentiles of the window's sample / target |
    | 3 | violation_rate | share of the sample over the target |
    | 4 | offered | arrivals a second / the scenario's capacity (its mean rate if it gives no capacity) |
    | 5 | completed | completions a second / the same |
    | 6 | mean_items | mean size of the window's arrivals / the distribution's mean |
    | 7, 8 | cpu_utilisation, accelerator_utilisation | busy share of the busiest pool of the kind (0 without one) |
    | 9 | backlog | ln(1 + queries in flight / (the same x target)) |
    | 10, 11 | batch_size, threshold | position of the settings in force on their ladders, 0 to 1 |
    | 12, 13 | day_sin, day_cos | sine and cosine of the time of day; both 0 where traffic has no day |

    ## Reward
    `reward="tail"` (default): with x = p95 / target and v the violation rate of the window's sample,
    (1 - x if x <= 1 else -ln x) - 5 v. `reward="goodput"`: 1 - v. `reward="efficiency"`: 1 - v - 0.5 e with e the
    window's energy in that of all pools fully busy. All are 0 for an empty sample.

    ## Starting state
    An empty node with the scenario's settings; the first observation is of an empty window. `reset(seed=S)` starts the
    first episode of the stream of S, `reset()` goes on with the next. `reset(options={"split": ...})`: "train"
    (default), "validation" or "test", disjoint by construction. In training a diurnal day's peak is drawn each episode
    from U(0.4, 1.1) times capacity.

    A scenario's own arrivals are served as they are. `deeprec evaluate` and `deeprec train` want a day: of a scenario
    whose arrivals are none they make one of 0.2 to 0.9 of its capacity (found first, and that of its best fixed
    setting, where it gives none), and `offered` is then in shares of that. `with_best_day` in
    `deeprec_env.policies.fixed.best_day` makes the same scenario for Python.

    ## How policies are judged
    By the hourly p95: the mean over the day's hours of the hour's p95. The reference `grid-day` is the best fixed
    setting by that figure, not by violations: on `wnd` it gives up the peak hours, and 10 % of its queries are late.

    ## Episode end
    Truncation after the last window; no episode terminates.

    ## Arguments
    `scenario`: preset name, YAML file or mapping. `engine`: "compiled" or "asyncio", which give the same bytes.
    `reward`: "tail", "goodput" or "efficiency". `render_mode`: "ansi" (lines) or "rgb_array" (a picture of the episode
    so far; needs the extra "plots"). Pickling and copying work in mid-episode: the copy replays the actions
    so far. The attribute `windows` is the length of an episode; set before `reset`, it makes episodes longer or
    shorter.
    `scenario` may also be a function of a generator (a `numpy.random.Generator`, a child of the episode's seed of its
    own), or its name as "module:function": it draws a `Scenario` for every episode. All that it draws have the spaces,
    and the length of an episode, of a first one, drawn with a generator of seed 0. `ladders="common"`: a node without
    accelerator takes the full ladder of thresholds and ignores it (null stays in force, in `info` and observation).

    ## Version history
    v1: capacities and days of the presets by an exhaustive search with better statistics (they moved by up to 2.3 %);
    no clock in the observation where traffic has no day.
    v0: first version; its presets are still there ("v0/NAME", or `gymnasium.make` of v0).
    """

    def __init__(
        self,
        scenario: ScenarioSource = "dlrm-rmc1",
        engine: str = "compiled",
        reward: str = "tail",
        render_mode: str | None = None,
        ladders: str | None = None,
    ) -> None:
        super().__init__(
            task_source(scenario, partial(ServingTask, reward=reward, ladders=ladders)), engine, render_mode
        )
