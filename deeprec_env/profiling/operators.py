"""Where a model's time goes: shares of operator groups, by torch's profiler, on one thread.

The groups are those of the DeepRecSys paper's breakdown. Self time of every operator counts for one group:

1. The outermost module that claims what is inside it: embedding tables (`EmbeddingTables`, `SequenceTable`,
   `nn.Embedding`, `nn.EmbeddingBag`), recurrent layers (`nn.RNNBase`, `nn.RNNCellBase`, `AttentionGru`) and attention
   units (`nn.MultiheadAttention`, and every module whose name begins with "atten": DIN's `attention`, DIEN's
   `attend`). So the matrix products of a GRU are recurrent, and those of an activation unit are attention, not FC.
2. Outside such modules, the outermost operator, by its name (`OF_OPERATOR`), with all that it calls.

Python's own time between operators counts nowhere: the published breakdown, of Caffe2 graphs, has none.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.profiler import profile, record_function

from deeprec_env.errors import InputError
from deeprec_env.files import replacing
from deeprec_env.models import MODELS, RecommendationModel, build_model, check_model, draw_inputs
from deeprec_env.models.dien import AttentionGru
from deeprec_env.models.inputs import IndexDistribution, describe_distribution, index_distribution
from deeprec_env.models.layers import EmbeddingTables, SequenceTable
from deeprec_env.profiling.machine import describe_machine
from deeprec_env.profiling.profile import model_seed

GROUPS = ("FC", "embedding", "recurrent", "attention", "concat", "elementwise", "other")
"""FC: fully connected layers. attention: units that weigh a sequence. elementwise: activations, sums, products."""

OF_OPERATOR = {
    "FC": ("linear", "addmm", "mm", "matmul"),
    "embedding": ("embedding", "embedding_bag", "index_select", "gather", "index"),
    "recurrent": ("gru", "lstm", "rnn_tanh", "rnn_relu"),
    "attention": ("bmm", "baddbmm", "scaled_dot_product_attention"),
    "concat": ("cat", "concat", "concatenate", "stack"),
    "elementwise": (
        "relu", "relu_", "sigmoid", "tanh", "softmax", "_softmax", "log_softmax", "prelu", "gelu", "silu", "leaky_relu",
        "mul", "add", "sub", "div", "rsub", "neg", "exp", "sum", "mean", "clamp", "maximum", "minimum",
    ),
}  # fmt: skip
"""Group of an operator, "aten::" left out; what is in no group is other (views, copies, allocations)."""

BATCHES = (1, 64, 1024)
COLUMNS = ("model", "batch", "operator", "share", "self_ms")
REPEATS, KEPT, WARM_UP = 40, 10, 3
"""Profiled runs of a batch, those of them that count (the quietest, by total time), and runs before them."""

_GROUP_OF = {name: group for group, names in OF_OPERATOR.items() for name in names}
_CLAIM = "group:"
_RUN = "run"


@dataclass(frozen=True)
class Share:
    """Share of one operator group in the time of one batch, and its self time in milliseconds."""

    model: str
    batch: int
    operator: str
    share: float
    self_ms: float


@dataclass(frozen=True)
class OperatorSettings:
    """What is measured and how; all of it goes into the file's header."""

    models: tuple[str, ...]
    batches: tuple[int, ...] = BATCHES
    index_distribution: str = "uniform"
    rows_scale: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for model in self.models:
            check_model(model)
        if not self.batches or min(self.batches) < 1 or len(set(self.batches)) < len(self.batches):
            raise InputError("batches", self.batches, "must be distinct whole numbers of at least 1")
        index_distribution(self.index_distribution)

    def header(self) -> dict[str, str]:
        """The lines that open the file."""
        return {
            "deeprec profile": "operator shares of self CPU time",
            **describe_machine("cpu"),
            "threads": "1",
            "batches": ",".join(map(str, self.batches)),
            "index_distribution": describe_distribution(self.index_distribution),
            "rows_scale": f"{self.rows_scale:g}",
            "runs": f"quietest {KEPT} of {REPEATS}",
            "seed": str(self.seed),
        }


def operator_shares(settings: OperatorSettings, path: Path, progress: Callable[[str], None]) -> list[Share]:
    """Profile the models one after another (one in memory at a time) and write the CSV `path` after each.

    Models that the file holds already are not profiled again; a file of other settings is refused. `progress` is
    called with the model's name for each batch size.
    """
    header = settings.header()
    shares: list[Share] = []
    if path.exists():
        before, shares = read_shares(path)
        for key in before.keys() | header.keys():
            if before.get(key) != header.get(key):
                raise InputError(
                    "output", str(path), f"holds shares with {key} {before.get(key)!r}, not {header.get(key)!r}"
                )
    torch.set_num_threads(1)
    for name in settings.models:
        if any(share.model == name for share in shares):
            continue
        torch.manual_seed(settings.seed * len(MODELS) + model_seed(name))
        rng = np.random.default_rng([settings.seed, model_seed(name)])
        model, indices = build_model(name, settings.rows_scale), index_distribution(settings.index_distribution)
        for batch in settings.batches:
            times_ms = profile_batch(model, batch, indices, rng)
            total = sum(times_ms.values())
            shares += [Share(name, batch, group, times_ms[group] / total, times_ms[group]) for group in GROUPS]
            progress(name)
        _write(path, header, shares)
    return shares


def profile_batch(
    model: RecommendationModel,
    batch: int,
    distribution: IndexDistribution,
    rng: np.random.Generator,
    repeats: int = REPEATS,
) -> dict[str, float]:
    """Self CPU milliseconds of each group in one run of `batch` items: the mean over the quietest of `repeats` runs."""
    # Without Kineto, whose library writes lines of its own to stderr; the operators recorded are the same.
    with torch.inference_mode(), _claims(model), profile(use_kineto=False) as profiled:
        for _ in range(WARM_UP + repeats):
            inputs = draw_inputs(model.input_spec, batch, rng, distribution)
            with record_function(_RUN):
                model(**inputs)
    runs = sorted(_times_ms(profiled.function_events)[WARM_UP:], key=lambda times: sum(times.values()))
    return {group: float(np.mean([times[group] for times in runs[:KEPT]])) for group in GROUPS}


def _times_ms(events: Any) -> list[dict[str, float]]:
    """Self time of each group in every run, in order."""
    runs: dict[int, dict[str, float]] = {}
    for event in events:
        if event.name == _RUN:
            runs[event.id] = dict.fromkeys(GROUPS, 0.0)
    for event in events:
        if event.name.startswith("aten::"):
            run, group = _place(event)
            if run in runs:
                runs[run][group] += event.self_cpu_time_total * 1e-3  # microseconds
    return list(runs.values())


def _place(event: Any) -> tuple[int | None, str]:
    """The run that an operator belongs to, and its group."""
    outermost, claimed = event, None
    while event is not None and event.name != _RUN:
        if event.name.startswith(_CLAIM):
            claimed = event.name.removeprefix(_CLAIM)
        elif event.name.startswith("aten::"):
            outermost = event
        event = event.cpu_parent
    group = claimed or _GROUP_OF.get(outermost.name.removeprefix("aten::"), "other")
    return (None if event is None else event.id), group


@contextmanager
def _claims(model: nn.Module) -> Iterator[None]:
    """Mark what runs inside the modules that claim it."""
    with ExitStack() as stack:
        for path, module in model.named_modules():
            group = _claimed_by(path, module)
            if group is not None:
                _mark(module, _CLAIM + group, stack)
        yield


def _claimed_by(path: str, module: nn.Module) -> str | None:
    if isinstance(module, EmbeddingTables | SequenceTable | nn.Embedding | nn.EmbeddingBag):
        return "embedding"
    if isinstance(module, nn.RNNBase | nn.RNNCellBase | AttentionGru):
        return "recurrent"
    named = any(part.startswith("atten") for part in path.split("."))
    return "attention" if named or isinstance(module, nn.MultiheadAttention) else None


def _mark(module: nn.Module, name: str, stack: ExitStack) -> None:
    running: list[Any] = []

    def enter(*_: Any) -> None:
        running.append(record_function(name))
        running[-1].__enter__()

    def leave(*_: Any) -> None:
        running.pop().__exit__(None, None, None)

    stack.callback(module.register_forward_pre_hook(enter).remove)
    stack.callback(module.register_forward_hook(leave, always_call=True).remove)


def read_shares(path: Path) -> tuple[dict[str, str], list[Share]]:
    """Header and shares of a file that `operator_shares` wrote."""
    lines = path.read_text(encoding="utf-8").splitlines()
    header = {}
    for line in lines:
        if line.startswith("#"):
            key, _, value = line[1:].partition(":")
            header[key.strip()] = value.strip()
    body = csv.DictReader(line for line in lines if not line.startswith("#"))
    try:
        shares = [
            Share(row["model"], int(row["batch"]), row["operator"], float(row["share"]), float(row["self_ms"]))
            for row in body
        ]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError("output", str(path), f"must be a file of operator shares ({error})") from None
    return header, shares


def _write(path: Path, header: Mapping[str, str], shares: Sequence[Share]) -> None:
    with replacing(path) as file:
        for key, value in header.items():
            file.write(f"# {key}: {value}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for share in shares:
            figures = (f"{share.share:.6g}", f"{share.self_ms:.6g}")
            writer.writerow([share.model, share.batch, share.operator, *figures])
