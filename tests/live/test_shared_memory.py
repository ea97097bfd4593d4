from __future__ import annotations

from deeprec_env.live.shared_memory import ArrayPlace, SharedBlock, laid_out


def test_arrays_lie_apart_and_are_seen_by_all_who_open_the_block() -> None:
    places, end = laid_out([ArrayPlace("float32", (3, 5)), ArrayPlace("int64", (7,))])
    block = SharedBlock.create(end)
    other = SharedBlock.opened(block.fd)
    for number, place in enumerate(places):
        block.array(place)[:] = number + 1
    assert [place.offset % 64 for place in places] == [0, 0]
    assert (other.array(places[0]) == 1).all()
    assert (other.array(places[1]) == 2).all()
    assert [ArrayPlace.of_json(place.to_json()) for place in places] == places
    block.close()
    block.close()
