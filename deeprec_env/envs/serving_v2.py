"""`DeepRec/Serving-v2`: hold the tail of a server low through a day of traffic, with all the controls of a server."""

from __future__ import annotations

from functools import partial

from deeprec_env.envs.serving_v2_task import ServingV2Task
from deeprec_env.envs.task_source import ScenarioSource, task_source
from deeprec_env.envs.traffic_env import TrafficEnv


class ServingV2Env(TrafficEnv):
    """Control of batch size, offloading, queue order and admission under given traffic.

    ## Description
    The node, the traffic and the day of `DeepRec/Serving-v1`. Besides the batch size the agent sets where queries are
    served (by their items, or where they are predicted to complete first), the order of all queues, and how long a
    query may be predicted to take before it is refused on arrival. A refused query is late for ever: it counts in
    every window as one over the target. All of it is for the queries that arrive from then on, but for the order, which
    holds for all that wait.

    ## Action space
    `MultiDiscrete([batch sizes, offloads, orders, admission limits])`: indices into the scenario's ladders, by default
    `MultiDiscrete([13, 14, 3, 6])`. Of a file that names no ladder of them the offloads are its thresholds and, where a
    stage has both pools, "predicted"; the orders are fcfs, small-first and least-slack; the limits 0.6, 0.7, 0.8, 0.9
    and 1 of the target (those that the fastest query can keep) and none.

    ## Observation space
    `Box(-1, 10, (21,), float32)`, each entry clipped to it. The first 14 are those of `DeepRec/Serving-v1`; the sample
    of a window is that of the queries that were admitted, and the violation rate counts each that was refused.

    | entry | field | what it holds |
    |---|---|---|
    | 0, 1, 2 | p50, p95, p99 | percentiles of the window's sample / target |
    | 3 | violation_rate | share of the sample and of what was shed that was over the target, or shed |
    | 4 | offered | arrivals a second / the scenario's capacity (its mean rate if it gives no capacity) |
    | 5 | completed | completions a second / the same |
    | 6 | mean_items | mean size of the window's arrivals / the distribution's mean |
    | 7, 8 | cpu_utilisation, accelerator_utilisation | busy share of the busiest pool of the kind (0 without one) |
    | 9 | backlog | ln(1 + queries in flight / (the same x target)) |
    | 10, 11 | batch_size, threshold | position of the settings in force on their ladders, 0 to 1 |
    | 12, 13 | day_sin, day_cos | sine and cosine of the time of day; both 0 where traffic has no day |
    | 14 | shed_rate | share of the window's arrivals that were refused |
    | 15, 16 | waiting_cpu, waiting_accelerator | ln(1 + requests waiting at the window's end / servers) |
    | 17 | predicted | predicted latency of a query of median size that would arrive then / target |
    | 18, 19, 20 | offload, order, admit_ms | position of the settings in force on their ladders, 0 to 1 (-1: off it) |

    Entries 15 to 17 are 0 of a scenario whose ladders leave nothing but thresholds, fcfs and no limit, and 17 of a
    pipeline with sub-batches. Under "predicted" entry 11 is that of no threshold.

    ## Reward
    `reward="tail"` (default): with x = p95 / target of the sample (0 of an empty one) and v the window's violation
    rate, (1 - x if x <= 1 else -ln x) - 5 v. `reward="goodput"`: 1 - v. `reward="efficiency"`: 1 - v - 0.5 e with e the
    window's energy in that of all pools fully busy. All are 0 where the sample is empty and nothing was shed.

    ## Starting state
    As of `DeepRec/Serving-v1`: an empty node with the scenario's settings.

    ## Episode end
    Truncation after the last window; no episode terminates.

    ## Arguments
    Those of `DeepRec/Serving-v1`. The compiled engine needs latencies that are rows of numbers, as all of this package
    are; `engine="asyncio"` takes any. `ladders="common"`: a node without accelerator takes the full ladder of offloads
    and ignores it.

    ## Info
    Flat floats: the keys of `DeepRec/Serving-v1`, and shed_rate; goodput (1 - v; 0 where there is nothing to count);
    waiting_cpu and waiting_accelerator (requests); predicted_ms; and in force offload (0: by threshold, which is
    infinite for never; 1: predicted), order (0 fcfs, 1 small-first, 2 least-slack) and admit_ms (infinite: no limit).

    ## Version history
    v2: offloading by prediction, queue order and admission are chosen; seven more entries are observed.
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
            task_source(scenario, partial(ServingV2Task, reward=reward, ladders=ladders)), engine, render_mode
        )
