"""Binary bodies: where tensors are is remembered by the head of a body, and is what the library says."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save

from deeprec_env.errors import InputError
from deeprec_env.live.plan import InputField, ModelPlan
from deeprec_env.live.service.bodies import BodyReader, _of_binary
from deeprec_env.live.service.media import BINARY


@pytest.mark.parametrize(
    ("arrays", "metadata"),
    [
        ({"item": np.zeros((0, 1), dtype=np.int64)}, None),
        ({"item": np.arange(6).reshape(3, 2), "dense": np.ones((3, 4), dtype=np.float32)}, {"about": "the whole"}),
        ({"item": np.arange(3, dtype=np.int32), "one": np.array(2.5)}, {"long": "x" * 5000}),
    ],
)
def test_tensors_are_those_of_the_library(arrays: dict[str, np.ndarray], metadata: dict[str, str] | None) -> None:
    for grown in (0, 1):  # the second body begins as the first did
        body = save({name: np.array(values + values.dtype.type(grown)) for name, values in arrays.items()}, metadata)
        read, expected = _of_binary(body), load(body)
        assert read.keys() == expected.keys()
        for name, values in expected.items():
            assert (read[name].dtype, read[name].shape) == (values.dtype, values.shape)
            assert np.array_equal(read[name], values)


def test_a_body_that_is_not_whole_is_refused_although_its_head_is_known() -> None:
    whole = save({"item": np.arange(3)})
    _of_binary(whole)
    for wrong in (b"", b"\x05", b"\xff" * 64, whole[:-1], whole + b"x", whole[:12]):
        with pytest.raises(InputError, match="must be safetensors"):
            _of_binary(wrong)


def reader() -> BodyReader:
    fields = {"user": InputField((1,), 1000), "item": InputField((2,), 100_000), "dense": InputField((3,), None)}
    return BodyReader(ModelPlan.of("any", 1.0, "cpu", fields, 1, {}, 1, 50))


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint64, np.uint32])
@pytest.mark.parametrize("floats", [np.float32, np.float64, np.int16])
def test_a_known_head_gives_what_the_library_reads(kind: type, floats: type) -> None:
    read, rng = reader(), np.random.default_rng(0)
    for items in (5, 5, 50, 5):
        user = rng.integers(0, 1000, 1).astype(kind)
        item, dense = rng.integers(0, 100_000, (items, 2)).astype(kind), rng.normal(0, 99, (items, 3)).astype(floats)
        found = read.read(BINARY, save({"user": user, "item": item, "dense": dense}), "3")
        assert (found.items, found.best) == (items, 3)
        assert np.array_equal(found.inputs["user"], np.repeat(user, items).reshape(-1, 1))
        assert np.array_equal(found.inputs["item"], item)
        assert np.array_equal(found.inputs["dense"], dense.astype(np.float32))


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.int16, np.int8, np.uint32])
def test_values_are_looked_at_although_the_head_is_known(kind: type) -> None:
    read = reader()
    good = {"user": np.array([1]), "item": np.ones((4, 2), dtype=kind), "dense": np.zeros((4, 3), dtype=np.float32)}
    bad = [("dense", np.full((4, 3), np.inf, dtype=np.float32)), ("dense", np.full((4, 3), np.nan, dtype=np.float32))]
    if np.iinfo(kind).min < 0:
        bad += [("item", np.full((4, 2), lowest, dtype=kind)) for lowest in (-1, np.iinfo(kind).min)]
    if np.iinfo(kind).max >= 100_000:
        bad += [("item", np.full((4, 2), highest, dtype=kind)) for highest in (100_000, np.iinfo(kind).max)]
    for name, values in bad:
        assert read.read(BINARY, save(good), None).items == 4
        with pytest.raises(InputError, match=f"inputs.{name}"):
            read.read(BINARY, save(good | {name: values}), None)
