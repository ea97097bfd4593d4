"""Different nodes drawn at random, as several routers do."""

from __future__ import annotations

from deeprec_env.scenario.router import Members, Routed


def drawn_nodes(query: Routed, count: int, members: Members) -> list[int]:
    """`count` different nodes (all, if there are no more): one that is drawn again is drawn anew."""
    if count >= members.size:
        return list(range(members.size))
    found: list[int] = []
    j = 0
    while len(found) < count:
        node = query.below(members.size, j)
        j += 1
        if node not in found:
            found.append(node)
    return found
