"""Training the models of a data set, one checkpoint each; interrupted, the next call goes on after the last epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch.nn import functional as F

from deeprec_env.arguments import whole
from deeprec_env.errors import InputError
from deeprec_env.files import make_folder
from deeprec_env.quality.checkpoints import Checkpoint, build, checkpoint_path, load, save
from deeprec_env.quality.data import Clicks, Dataset, Floats32, Progress, check_queries
from deeprec_env.quality.metrics import auc, log_loss
from deeprec_env.quality.models import DLRM_SIZES, Interaction, Ranker
from deeprec_env.quality.pipelines import RANKS, Pipeline, evaluate, log_odds_error
from deeprec_env.quality.public import load_public
from deeprec_env.quality.sources import Recipe, Source

SCORED_AT_ONCE = 8192

MOST_THREADS = 1024


@dataclass(frozen=True)
class TrainSettings:
    """Which models are trained on which data, and how; `weights`: a public DLRM checkpoint to begin with."""

    source: Source
    models: tuple[str, ...]
    recipe: Recipe
    seed: int = 0
    weights: str | None = None
    threads: int = 1
    queries: int = 128

    def __post_init__(self) -> None:
        for name in self.models:
            if name not in self.source.kind.models:
                allowed = f"must be all or one of {', '.join(self.source.kind.models)} for {self.source.name}"
                raise InputError("model", name, allowed)
        if self.recipe.epochs < (0 if self.weights else 1):
            raise InputError("epochs", self.recipe.epochs, "must be at least 1 (0 with --weights)")
        for field, value in (("batch", self.recipe.batch), ("threads", self.threads), ("queries", self.queries)):
            whole(field, value, 1, MOST_THREADS if field == "threads" else None)
        check_queries(self.queries, self.source.kind.items[0])
        if not (0 < self.recipe.rate < math.inf and 0 < self.recipe.embedding_rate < math.inf):
            raise InputError("rate", self.recipe.rate, "must be a number above 0")
        if self.seed < 0:
            raise InputError("seed", self.seed, "must be a whole number of at least 0")
        if self.weights is not None and (len(self.models) != 1 or self.models[0] not in DLRM_SIZES):
            raise InputError("weights", self.weights, f"needs one --model of {', '.join(DLRM_SIZES)}")
        if self.weights is not None and self.source.max_rows is not None:
            raise InputError("max_rows", self.source.max_rows, "does not go with --weights: rows would not be theirs")

    def of(self, model: str) -> dict[str, Any]:
        """All that the weights of a model depend on, for JSON."""
        recipe = asdict(self.recipe)
        return {"model": model, "data": self.source.settings(), "seed": self.seed, "weights": self.weights} | recipe


def train(settings: TrainSettings, folder: Path, progress: Progress) -> dict[str, Any]:
    """Train the models that `folder` does not hold yet; returns metrics by model, and the data's account of lines.

    Deterministic on a CPU for a seed and a number of threads. Raises `InputError` where the folder holds a model
    trained with other settings.
    """
    before = {name: _found(settings, folder, name) for name in settings.models}
    done = {name: found.result for name, found in before.items() if found and found.result}
    if len(done) == len(settings.models):
        return {"models": done}
    torch.set_num_threads(settings.threads)
    data, malformed = settings.source.load(progress)
    results = {}
    for name in settings.models:
        checkpoint = before[name] or _start(settings, name, data)
        _same_rows(checkpoint, data)
        make_folder("output", folder)  # now: bad data, or weights, leave nothing
        if checkpoint.result is None:
            _train_model(settings, data, checkpoint, checkpoint_path(folder, name), progress)
        results[name] = checkpoint.result
    return {"models": results, **malformed.summary()}


def score(model: Ranker, clicks: Clicks) -> Floats32:
    """Log-odds of every candidate, float32 (n,)."""
    with torch.inference_mode():
        parts = [
            model(*_tensors(clicks[at : at + SCORED_AT_ONCE])).numpy() for at in range(0, len(clicks), SCORED_AT_ONCE)
        ]
    return np.concatenate(parts)


def trained_models(folder: Path) -> tuple[Source, list[str]]:
    """The data that the folder's models were trained on, not loaded, and the models' names in order."""
    source, by_name = _trained(folder)
    return source, [name for name in source.kind.models if name in by_name]


def load_scores(folder: Path, threads: int, progress: Progress) -> tuple[Source, Dataset, Mapping[str, Floats32]]:
    """The data that the folder's models were trained on, and their scores of what was held out, by model in order."""
    source, by_name = _trained(folder)
    torch.set_num_threads(threads)
    data, _ = source.load(progress)
    scores = {}
    for name in (name for name in source.kind.models if name in by_name):
        _same_rows(by_name[name], data)
        progress(f"score with {name}", 0)
        scores[name] = score(by_name[name].model(), data.test)
    return source, data, scores


def _trained(folder: Path) -> tuple[Source, dict[str, Checkpoint]]:
    found = [load(path) for path in sorted(folder.glob("*.pt"))]
    if not found:
        raise InputError("checkpoints", str(folder), "must hold models that 'deeprec quality train' wrote")
    for checkpoint in found:
        if checkpoint.settings["data"] != found[0].settings["data"]:
            names = f"{found[0].settings['model']} and {checkpoint.settings['model']}"
            raise InputError("checkpoints", str(folder), f"{names} must be trained on the same data")
        if checkpoint.result is None:
            raise InputError("checkpoints", str(folder), f"{checkpoint.settings['model']} must be trained to its end")
    return Source(**found[0].settings["data"]), {checkpoint.settings["model"]: checkpoint for checkpoint in found}


def _found(settings: TrainSettings, folder: Path, name: str) -> Checkpoint | None:
    path = checkpoint_path(folder, name)
    if not path.exists():
        return None
    checkpoint, wanted = load(path), settings.of(name)
    for key, value in wanted.items():
        if checkpoint.settings.get(key) != value:
            before = checkpoint.settings.get(key)
            raise InputError(key, value, f"{path} was trained with {before!r}; name another --output")
    return checkpoint


def _same_rows(checkpoint: Checkpoint, data: Dataset) -> None:
    if checkpoint.shape["rows"] != list(data.rows):
        model, path = checkpoint.settings["model"], checkpoint.settings["data"]["path"]
        raise InputError("path", path, f"has changed since {model} was trained on it: its tables have other sizes")


def _start(settings: TrainSettings, name: str, data: Dataset) -> Checkpoint:
    """A model before its first epoch."""
    torch.manual_seed(settings.seed)
    dense_inputs = data.train.dense.shape[1]
    interaction: Interaction = "dot"
    if settings.weights is None:
        weights = build(name, data.rows, dense_inputs, interaction).state_dict()
    else:
        weights, interaction = load_public(Path(settings.weights), DLRM_SIZES[name], data.rows, dense_inputs)
    shape = {"rows": list(data.rows), "dense_inputs": dense_inputs, "interaction": interaction}
    return Checkpoint(settings.of(name), shape, 0, weights, [])


def _train_model(
    settings: TrainSettings, data: Dataset, checkpoint: Checkpoint, path: Path, progress: Progress
) -> None:
    """Train to the last epoch, saving after each, then test."""
    name, recipe = checkpoint.settings["model"], settings.recipe
    model = checkpoint.model().train()
    optimisers = _optimisers(model, recipe)
    for optimiser, state in zip(optimisers, checkpoint.optimisers, strict=False):
        optimiser.load_state_dict(state)
    for epoch in range(checkpoint.epochs, recipe.epochs):
        clicks = data.training(epoch)
        order = np.random.default_rng([settings.seed, 3, epoch]).permutation(len(clicks))
        steps = -(-len(clicks) // recipe.batch)
        for step in range(steps):
            _fall(optimisers, 1.0 - (epoch + step / steps) / recipe.epochs)
            chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
            batch = Clicks(clicks.labels[chosen], clicks.dense[chosen], clicks.categories[chosen])
            loss = F.binary_cross_entropy_with_logits(model(*_tensors(batch)), torch.from_numpy(batch.labels))
            for optimiser in optimisers:
                optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for optimiser in optimisers:
                optimiser.step()
            progress(f"train {name}, epoch {epoch + 1} of {recipe.epochs}", len(chosen))
        checkpoint.epochs, checkpoint.state = epoch + 1, model.state_dict()
        checkpoint.optimisers = [optimiser.state_dict() for optimiser in optimisers]
        save(path, checkpoint)
    progress(f"test {name}", 0)
    checkpoint.result = _test(settings, name, data, score(model.eval(), data.test))
    checkpoint.optimisers = []  # no longer needed
    save(path, checkpoint)


def _test(settings: TrainSettings, name: str, data: Dataset, scores: Floats32) -> dict[str, Any]:
    """Metrics on what was held out, and of queries that the model ranks alone."""
    labels = data.test.labels
    wrong = log_odds_error(labels, scores)
    result: dict[str, Any] = {
        "training_candidates": len(data.train),
        "held_out_candidates": len(data.test),
        "auc": auc(labels, scores),
        "log_loss": log_loss(labels, expit(scores)),
        "error": wrong,
        "accuracy": 1.0 - wrong,
    }
    items = min(settings.source.kind.items[0], len(data.test))
    candidates = data.queries(settings.queries, items, np.random.default_rng([settings.seed, 4]))
    quality = evaluate(Pipeline((name,), (items,)), data, {name: scores}, candidates, settings.seed)
    result["items"], result["queries"] = items, len(candidates)
    result |= {f"ndcg@{k}": float(quality.ndcg[k].mean()) for k in RANKS}
    return result | {f"hit_rate@{k}": float(quality.hit_rate[k].mean()) for k in RANKS}


def _optimisers(model: Ranker, recipe: Recipe) -> list[torch.optim.Optimizer]:
    embeddings = model.embeddings()
    rest = [parameter for parameter in model.parameters() if all(parameter is not table for table in embeddings)]
    adam = torch.optim.SparseAdam if model.sparse else torch.optim.Adam
    optimisers: list[torch.optim.Optimizer] = [
        torch.optim.Adam(rest, recipe.rate),
        adam(embeddings, recipe.embedding_rate),
    ]
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["first_rate"] = group["lr"]
    return optimisers


def _fall(optimisers: list[torch.optim.Optimizer], share: float) -> None:
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["first_rate"] * share


def _tensors(clicks: Clicks) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(clicks.dense), torch.from_numpy(clicks.categories.astype(np.int64))


def with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    """The recipe, with another number of epochs where one is given."""
    return recipe if epochs is None else replace(recipe, epochs=epochs)
