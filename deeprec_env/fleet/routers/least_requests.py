"""The node with the fewest queries in flight."""

from __future__ import annotations

from deeprec_env.scenario.router import ROUTERS, Choose, KernelRule, Members, Router


@ROUTERS.register("least-requests")
class LeastRequests(Router):
    """Every query to the node with the fewest queries sent and not answered: join the shortest queue."""

    def start(self, members: Members) -> Choose:
        return lambda query, known: known.first(known.in_flight)

    def kernel_rule(self) -> KernelRule:
        return KernelRule("least-requests")
