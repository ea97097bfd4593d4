"""The largest rate under tail rules, estimated from independent replications, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from deeprec_env.analysis.crossing import crossing
from deeprec_env.analysis.replications import Replications, Streams, TailRule, sample_seed
from deeprec_env.analysis.warmup import Warmup
from deeprec_env.progress import Progress, Step, silent
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.intervals import BATCHES
from deeprec_env.simulation.kernel_choice import follows_state
from deeprec_env.simulation.offered_load import ServiceDemand

HIGHEST_LOAD = 0.999
"""The highest load that is tried. What is above takes a backlog of thousands of queries to tell from 1."""

QUERIES = 1200
"""Queries of a replication. Short, because a replication in steady state tells most with its first queries."""

_FIRST = 32  # replications to begin with
_FEWEST = 4
_LOWEST = 0.01  # of the bound: as good as an empty system
_CLEAR = 0.3  # relative error of a share up to which its interval can be trusted: fewer clusters are unlike normal
_COARSE = 5e-4  # of the bound: tolerance of the first round
_FINE = 0.02  # of the first round's interval: tolerance of the second
_WIDEST = 10.0  # times the precision: what counts of that interval at most
_END = 2.5  # times the tolerance of the value: that of the interval's ends
_ROUNDS = 3  # of more replications, at most
_CORRELATED = 0.7  # share of a replication's queries that its variance inflation is, where shorter ones do as well
_SPARE = 1.15  # replications above what the first ones say is needed
_PROBES = 14  # rates that a search takes, about
_TO_COME = 12.0  # times the queries of the first round that the whole takes, about
_LONG = 8  # replications where the backlog says what is stable: few and long, as a short one may grow by chance
_SKETCH = 4  # times shorter are those of their first round
_AROUND = 0.02  # of the rate found in it: where the second round begins to look
_FRESH = 2**20  # first episode of the confirmation, far after the search's


def tail_rules(scenario: Scenario, percentile: float) -> list[TailRule]:
    """The percentile within the target and, with a `p99_factor`, p99 within its multiple."""
    rules = [TailRule("sla", scenario.sla_s, 1.0 - percentile / 100.0)]
    if scenario.p99_factor is not None:
        rules.append(TailRule("p99", scenario.p99_factor * scenario.sla_s, 0.01))
    return rules


@dataclass(frozen=True)
class RateEstimate:
    """A rate with its interval, and the replications it was found with.

    `limited_by` is a rule's name, that of the bound or "infeasible". `highest_qps` is the highest rate that the
    replications are meant for, `queries` are those of a rate in them. `shed_rate` and the work `sent` to each pool, in
    its servers' time, are those at `qps`; the latter where the node's state decides who goes where.
    """

    qps: float
    interval: tuple[float, float] | None
    limited_by: str
    replications: int
    variance_inflation: float | None
    streams_sha256: str
    highest_qps: float
    queries: int = 0
    shed_rate: float | None = None
    sent: dict[str, float] = field(default_factory=dict)


class RateEstimator:
    """Searches the rates up to a bound, `limit`: its rate, and what it is called; counts the queries.

    The value is where the mean share above the target, over replications of the same traffic at every rate, crosses
    what the rule allows. Its interval holds the rates at which that share does not differ from what is allowed by more
    than its error (a test of every rate, inverted). A first round of few replications says how many are needed for an
    interval within `precision` of the value. A replication has `length` queries or, where fewer than four such fit
    into the `queries` of a rate, a fourth of them. Of arrivals other than Poisson it has a warm-up on top, and is at
    least as long again: as long a warm-up as the rate needs that was found with the shortest. That rate can only be too
    high, as what starts empty waits too little. So it is of nodes that are not decided on entry.

    Where the node's state decides who goes where no mean says which rates are stable (`demands` is empty). A rate is
    not if the backlog of any replication grows; there are `_LONG` of them, that share the queries, each with a warm-up
    half as long. Where that limits, the interval reaches from there to where the backlogs of most grow.
    """

    def __init__(
        self,
        scenario: Scenario,
        demands: Sequence[ServiceDemand],
        rules: Sequence[TailRule],
        limit: tuple[float, str],
        *,
        seed: int,
        split: str,
        queries: int,
        precision: float,
        engine: str,
        length: int = QUERIES,
        progress: Progress = silent,
    ) -> None:
        self._scenario, self._demands, self._rules = scenario, demands, rules
        self._bound, self._limit = limit
        self._seed, self._split, self._engine, self._precision = seed, split, engine, precision
        self._queries, self._spent = queries, 0
        self._needed_warmup = Warmup(scenario, demands, sample_seed(seed, split))
        self._warmup = self._needed_warmup.least
        self._most, self._length = self._lengths(length)
        self._follows = follows_state(scenario)
        if self._follows:
            self._judge_by_backlog(_LONG * _SKETCH)
        self._current: Replications | None = None
        self._progress, self._expected = progress, math.inf

    @property
    def queries_used(self) -> int:
        """Queries run so far."""
        return self._spent + (self._current.queries_used if self._current else 0)

    @property
    def first_queries(self) -> int:
        """Queries of a rate in the first round."""
        return min(self._most, _FIRST) * self._length

    def find(self, at_least: float = 0.0) -> RateEstimate:
        """The largest rate that meets all rules; 0 where that is below `at_least`, or where no rate does."""
        start, stable = max(at_least, _LOWEST * self._bound), HIGHEST_LOAD * self._bound
        if start >= stable:
            return RateEstimate(0.0, None, self._limit, 0, None, "", stable)
        found = self._first_round(start, stable, at_least)
        while found.qps > 0.0 and (needed := self._needed_warmup.queries(found.qps)) > self._warmup:
            self._warmup = needed
            self._most, self._length = self._lengths(needed)
            found = self._first_round(start, stable, at_least)
        if found.qps == 0.0:
            return found
        if self._follows:
            self._judge_by_backlog(_LONG)
            around = (found.qps, (1.0 - _AROUND) * found.qps, min((1.0 + _AROUND) * found.qps, stable))
            found = self._search(self._replications(0, self._most, stable), around, start, _COARSE * self._bound)
            assert self._current is not None
            return replace(found, sent=self._current.sent(found.qps)) if found.qps else found
        assert self._current is not None
        correlated = (found.variance_inflation or 0.0) > _CORRELATED * self._current.streams.counted
        if correlated and not self._warmup:
            self._length = max(self._length // 3, 1)
        for _ in range(_ROUNDS):
            assert self._current is not None
            needed = min(math.ceil(_SPARE * found.replications * self._shortfall(self._current, found)), self._most)
            if needed <= _SPARE * found.replications:
                break
            found = self._more(found, needed, start, stable)
        return found

    def _lengths(self, length: int) -> tuple[int, int]:
        """Most replications of `length` queries, and the length of that many."""
        most = max(self._queries // length, _FEWEST)
        return most, min(length, self._queries // most)

    def _judge_by_backlog(self, parts: int) -> None:
        """Let the replications be `_LONG`, of so many parts of a rate's queries each."""
        self._most, self._length = _LONG, max(self._queries // parts, BATCHES)
        self._warmup = max(self._needed_warmup.least, self._length // 2)

    def _first_round(self, start: float, stable: float, at_least: float) -> RateEstimate:
        """The estimate of few replications, everywhere."""
        first = self._replications(0, min(self._most, _FIRST), stable)
        if first.excess(start, first.allowed()) > 0.0:
            limited_by = self._limiting(first, start) if at_least else "infeasible"
            return RateEstimate(0.0, None, limited_by, len(first), None, first.fingerprint(), stable)
        return self._search(first, (start, stable), start, _COARSE * self._bound)

    def _more(self, found: RateEstimate, count: int, start: float, stable: float) -> RateEstimate:
        """The estimate of more replications, looked for where that of fewer was."""
        low, high = found.interval or (start, stable)
        # The first interval may be as wide as the search.
        width = min(high - low, _WIDEST * self._precision * found.qps)
        tolerance = max(_FINE * width, 1e-6 * self._bound)
        # The lower the highest rate, the smaller the backlogs to plan: as far above the interval as it needs.
        highest = min(0.5 * (high + self._bound), stable)
        narrowed = self._search(self._replications(0, count, highest), (low, high), start, tolerance)
        if narrowed.qps < highest or highest == stable:
            return narrowed
        return self._search(self._replications(0, count, stable), (low, high), start, tolerance)

    def confirm(self, found: RateEstimate) -> str:
        """The verdict of as many replications of fresh traffic at the rate found: pass, fail or undecided."""
        fresh = self._replications(_FRESH, found.replications, found.highest_qps)
        if growing := fresh.growing(found.qps):  # it is a matter of chance just below the rate where one does
            return "fail" if growing > len(fresh) // 2 else "undecided"
        errors = fresh.half_widths(found.qps)
        if fresh.excess(found.qps, fresh.allowed(-errors)) <= 0.0:
            return "pass"
        return "undecided" if fresh.excess(found.qps, fresh.allowed(errors)) <= 0.0 else "fail"

    def _replications(self, first: int, count: int, highest_qps: float) -> Replications:
        if self._current:
            self._spent += self._current.queries_used
        of_search = _PROBES * count * (self._length + self._warmup)
        self._expected = self._spent + of_search * (_TO_COME if count <= _FIRST < self._most else 1.0)
        streams = Streams(self._seed, self._split, first, count, self._length, self._warmup)
        self._current = Replications(
            self._scenario, self._demands, self._rules, streams, highest_qps=highest_qps, engine=self._engine
        )
        return self._current

    def _search(
        self, replications: Replications, guesses: Sequence[float], start: float, tolerance: float
    ) -> RateEstimate:
        """The crossing and the interval's ends, between `start` and the highest rate; `guesses` are tried first."""
        highest = replications.highest_qps

        def largest(guesses: Sequence[float], tolerance: float, moved: Floats | float = 0.0) -> float:
            allowed = replications.allowed(moved)

            def above(qps: float) -> float:
                self._progress(Step(f"{qps:.5g} queries/s", min(self.queries_used / self._expected, 1.0)))
                return replications.excess(qps, allowed)

            for guess in guesses:
                if guess > 0.0:  # an interval may reach down to no rate at all
                    above(guess)
            too_high = [qps for qps in replications.known if above(qps) > 0.0]
            if not too_high and above(highest) <= 0.0:
                return highest
            high = min(too_high, default=highest)
            low = max((qps for qps in replications.known if qps < high), default=start)
            return crossing(above, low, high, tolerance)[0] if above(low) <= 0.0 else 0.0

        qps = largest(guesses, tolerance)
        errors = replications.half_widths(qps or start)
        low_end, high_end = (largest((), _END * tolerance, moved) for moved in (-errors, errors))
        above = min((rate for rate in replications.known if rate > qps), default=qps)
        high_end = max(high_end, above)  # where the share jumps, all that is known is that it does in between
        if replications.growing(above):
            high_end = max(high_end, self._most_grow(replications, qps or start, _END * tolerance))
        worst = replications.worst(above if not replications.growing(above) else qps or start)
        at_bound = qps >= HIGHEST_LOAD * self._bound and self._scenario.p99_factor is not None
        return RateEstimate(
            qps,
            (min(low_end, qps), high_end if high_end < highest else self._bound),
            self._limit if at_bound else self._limiting(replications, above),
            len(replications),
            replications.variance_inflation(qps, worst) if qps else None,
            replications.fingerprint(),
            highest,
            len(replications) * replications.streams.queries,
            replications.shed_rate(qps) if qps else None,
        )

    def _most_grow(self, replications: Replications, low: float, tolerance: float) -> float:
        """A rate at which the backlogs of most replications grow, from one on at which none does; else the highest."""

        def excess(qps: float) -> float:
            return replications.growing(qps) - 0.5 * len(replications)

        highest = replications.highest_qps
        return highest if excess(highest) <= 0.0 else crossing(excess, low, highest, tolerance)[1]

    def _limiting(self, replications: Replications, qps: float) -> str:
        """What is not met at a rate: the rule that is met least or, where the backlog grows, the bound; by its name."""
        return self._limit if replications.growing(qps) else self._rules[replications.worst(qps)].name

    def _shortfall(self, replications: Replications, found: RateEstimate) -> float:
        """Variance in that at which the interval is as narrow, and as much to be trusted, as it should be."""
        low, high = found.interval or (0.0, 0.0)
        wide = max(high - found.qps, found.qps - low) / (self._precision * found.qps)
        if low >= HIGHEST_LOAD * self._bound:  # clear of the bound: nothing is to be told
            return wide**2
        worst = replications.worst(found.qps)
        allowed = self._rules[worst].allowed
        # The half-width of a square root is half the relative error times t (about 2) in the root itself.
        unclear = float(replications.half_widths(found.qps)[worst]) / math.sqrt(allowed) / _CLEAR
        # At worst each replication is like one query: no more are needed whatever the first ones say.
        like_one_query = (1.0 - allowed) / allowed / _CLEAR**2 / len(replications)
        return max(wide**2, min(unclear**2, like_one_query))
