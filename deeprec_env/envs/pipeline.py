"""`DeepRec/Pipeline-v0`: rank as well as the target allows, through a day with bursts."""

from __future__ import annotations

from functools import partial

from deeprec_env.envs.pipeline_task import PipelineTask
from deeprec_env.envs.task_source import ScenarioSource, task_source
from deeprec_env.envs.traffic_env import TrafficEnv


class PipelineEnv(TrafficEnv):
    """Control of a ranking pipeline: which plan queries take, and how they are batched and offloaded.

    ## Description
    RecPipe's problem at run time. A plan is a way through the scenario's stages: how many items enter each of them,
    under which models, and the quality (NDCG) of the ranking that comes out. Good plans cost more work than others, so
    that a burst of traffic drowns them. Once every `control.interval_s` the agent sets plan, batch size and offload
    threshold for the queries that arrive from then on. An episode is one day of the scenario's diurnal arrivals. A
    scenario without a day gets one: 96 windows of about 200 queries at the mean rate, from 0.2 to 0.9 of the reference,
    with 6 bursts of 4 windows (on average) that multiply the rate by 1.6 and so may pass what the best plan can carry,
    though never 0.95 of what the cheapest plan can. All days have one mean, so that bursts lower the rest of theirs.
    The reference is the scenario's capacity; without one, the highest rate at which, under the plan of highest quality,
    no pool has more work than time.

    ## Action space
    `MultiDiscrete([plans, batch sizes, thresholds])`: the plan's index in the scenario (`scenario.plan_names`), and
    indices into its ladders (`batch_sizes`, `thresholds`).

    ## Observation space
    `Box(-1, 10, (30,), float32)` for the default scenario, each entry clipped to it. The sample of a window is the
    latency of every query that completed in it and the age of every query in flight at its end that is older than the
    target. Other scenarios have other stages and plans: an entry for every pool, every stage and every plan, in their
    order; `fields` has the names.

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
    | 12 to 15 | stage1_cpu, sort1_cpu, stage2_cpu, sort2_cpu | busy share of each pool |
    | 16 to 19 | stage1_backlog, sort1_backlog, stage2_backlog, sort2_backlog | as backlog, of each stage |
    | 20 to 26 | plan_0, plan_1, plan_2, plan_3, plan_4, plan_5, plan_6 | 1 for the plan in force, 0 for the others |
    | 27 | quality | mean quality of the plans of the sample's queries / that of the best plan |
    | 28, 29 | day_sin, day_cos | sine and cosine of the time of day |

    ## Reward
    `reward="quality"` (default): over the window's sample, the sum of the qualities of the plans of the queries within
    the target / (the sample's size x the best plan's quality); 0 for an empty sample. 1 is the best plan for everyone,
    in time. Qualities differ by little (recpipe-cpu: the worst is worth 0.88), a late query loses everything: a worse
    plan pays where it saves a larger share of the queries than it takes off the quality.

    ## Starting state
    An empty pipeline with the scenario's settings; the first observation is of an empty window. `reset(seed=S)` starts
    the first episode of the stream of S, `reset()` goes on with the next. `reset(options={"split": ...})`: "train"
    (default), "validation" or "test", disjoint by construction. In training the day's peak is drawn each episode from
    U(0.4, 1.1) times the reference, the bursts on top of it.

    ## Episode end
    Truncation after the last window; no episode terminates.

    ## Arguments
    `scenario`: preset name, YAML file or mapping, with plans that have qualities. `engine`: "compiled" or "asyncio",
    which give the same bytes. `reward`: "quality". `render_mode`: "ansi" (lines) or "rgb_array" (a picture of the
    episode so far; needs the extra "plots"). Pickling and copying work in mid-episode: the copy replays the actions so
    far. The attribute `windows` is the length of an episode; set before `reset`, it makes episodes longer or shorter.
    `info` has the keys of `ServingEnv`'s, `plan` (the index in force) and `quality` (the mean of the sample's queries).
    `scenario` may also be a function of a generator (a `numpy.random.Generator`, a child of the episode's seed of its
    own), or its name as "module:function": it draws a `Scenario` for every episode. All that it draws have the spaces,
    and the length of an episode, of a first one, drawn with a generator of seed 0. `ladders="common"`: a node without
    accelerator takes the full ladder of thresholds and ignores it (null stays in force, in `info` and observation).

    ## Version history
    v0: first version.
    """

    _task: PipelineTask

    def __init__(
        self,
        scenario: ScenarioSource = "recpipe-cpu",
        engine: str = "compiled",
        reward: str = "quality",
        render_mode: str | None = None,
        ladders: str | None = None,
    ) -> None:
        super().__init__(
            task_source(scenario, partial(PipelineTask, reward=reward, ladders=ladders)), engine, render_mode
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the observation's entries, in order."""
        return self._task.fields
