"""What a worker does with a request: one small class for each kind of device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from deeprec_env.live.messages import IN_SLOT
from deeprec_env.live.plan import EMPTY
from deeprec_env.live.shared_memory import ArrayPlace, SharedBlock


class Runner(Protocol):
    """A model that is ready to score."""

    def run(self, place: int, items: int) -> None:
        """Score `items` items, of the drawn inputs from `place` on or of the slot, and leave the scores in the slot."""


class Empty:
    """Returns at once: every score stays 0."""

    def run(self, place: int, items: int) -> None:
        """See `Runner`."""


def open_runner(told: Mapping[str, Any], block: SharedBlock) -> Runner:
    """The runner of what a worker was told (`ModelPlan.to_json`), warmed up."""
    if told["model"] == EMPTY:
        return Empty()
    import torch  # the empty model does without

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    from deeprec_env.live.model_memory import attach_model, tensors

    def places(name: str) -> dict[str, ArrayPlace]:
        return {key: ArrayPlace.of_json(place) for key, place in told[name].items()}

    model = attach_model(told["model"], told["rows_scale"], places("weights"), block)
    drawn, slot = tensors(places("drawn"), block), tensors(places("slot"), block)
    scores = tensors({"scores": ArrayPlace.of_json(told["scores"])}, block)["scores"]
    runner = (_OnCuda if told["device"] == "cuda" else _OnCpu)(model, drawn, slot, scores)
    most_items = len(scores)
    for items in (1, most_items // 2, most_items) * 2:
        runner.run(0, max(1, items))
    return runner


class _OnCpu:
    """PyTorch on one thread; inputs and scores are looked at where they are."""

    def __init__(self, model: Any, drawn: Mapping[str, Any], slot: Mapping[str, Any], scores: Any) -> None:
        import torch

        self._model, self._scores, self._inference = model, scores, torch.inference_mode
        self._drawn, self._slot = list(drawn.items()), list(slot.items())

    def run(self, place: int, items: int) -> None:
        """See `Runner`."""
        source, begin = (self._slot, 0) if place == IN_SLOT else (self._drawn, place)
        with self._inference():
            inputs = {name: tensor[begin : begin + items] for name, tensor in source}
            self._scores[:items].copy_(self._model(**inputs))


class _OnCuda:
    """PyTorch on a CUDA device: inputs are copied to it through pinned memory, scores from it."""

    def __init__(self, model: Any, drawn: Mapping[str, Any], slot: Mapping[str, Any], scores: Any) -> None:
        import torch

        self._torch, self._model, self._scores = torch, model.to("cuda"), scores
        self._drawn, self._slot = list(drawn.items()), list(slot.items())
        self._pinned = {name: tensor.clone().pin_memory() for name, tensor in slot.items()}
        self._device = {name: torch.empty_like(tensor, device="cuda") for name, tensor in slot.items()}

    def run(self, place: int, items: int) -> None:
        """See `Runner`."""
        source, begin = (self._slot, 0) if place == IN_SLOT else (self._drawn, place)
        inputs = {}
        with self._torch.inference_mode():
            for name, tensor in source:
                pinned, there = self._pinned[name][:items], self._device[name][:items]
                pinned.copy_(tensor[begin : begin + items])
                inputs[name] = there.copy_(pinned, non_blocking=True)
            self._scores[:items].copy_(self._model(**inputs))  # waits for the device
