"""Binary bodies: where tensors are is remembered by the head of a body, and is what the library says."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save

from deeprec_env.errors import InputError
from deeprec_env.live.service.bodies import _of_binary


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
