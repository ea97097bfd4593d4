"""The node with the least work in flight."""

from __future__ import annotations

from deeprec_env.scenario.router import ROUTERS, Choose, KernelRule, Members, Router


@ROUTERS.register("least-work")
class LeastWork(Router):
    """Every query to the node whose queries, sent and not answered, are the least mean work for each of its servers."""

    def start(self, members: Members) -> Choose:
        return lambda query, known: known.first(known.work_s)

    def kernel_rule(self) -> KernelRule:
        return KernelRule("least-work")
