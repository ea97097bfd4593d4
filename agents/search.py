"""Searching for hyperparameters on validation days; interrupted, it goes on with the trials that are done."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from deeprec_env.agents.search_space import suggest
from deeprec_env.agents.training import TrainSettings, question_of, train
from deeprec_env.agents.watch import Update
from deeprec_env.arguments import whole
from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.files import check_writable, make_folder, replacing
from deeprec_env.provenance import Question, asked
from deeprec_env.scenario.load import load_scenario
from deeprec_env.simulation.header import SCHEMA_VERSION, versions
from deeprec_env.sources import RESULTS, check_header, with_sources

MOST_TRIALS = 100_000

_KEPT = "deeprec"
"""What a trial in Optuna's storage keeps its row under."""


@dataclass(frozen=True)
class Trial:
    """A training of a search: what it changed of the hyperparameters, as JSON, and its best validation.

    `objective` is None where the training failed, as with a learning rate that is too high.
    """

    trial: int
    objective: float | None
    best_timesteps: int
    queries: int
    changes: str


@dataclass(frozen=True)
class FoundHyperparams:
    """What a search found: all its trials, and the file of the best one's hyperparameters."""

    file: Path
    objective: str
    trials: tuple[Trial, ...]
    best: Trial
    question: Question | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The summary that `deeprec train --search` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "folder": str(self.file.parent),
            "files": [self.file.name, "trials.csv"],
            "trials": len(self.trials),
            "failed": sum(trial.objective is None for trial in self.trials),
            "queries": sum(trial.queries for trial in self.trials),
            "objective": self.objective,
            "best": {
                "trial": self.best.trial,
                self.objective: self.best.objective,
                "timesteps": self.best.best_timesteps,
                "hyperparams": json.loads(self.best.changes),
            },
            **asked(self.question),
            "versions": versions(),
        }


class Search:
    """`trials` trainings with the settings' seed, of hyperparameters that Optuna's TPE chooses, one after another.

    A trial counts by its best validation. `folder`/trials.csv is written anew after each: a search that finds it there,
    of the same settings and code, takes their results from it, so that it ends as one without a break does. What is
    best goes into `folder`/ALGO.yml, which `deeprec train --hyperparams` takes. Raises `InputError` for a CSV of
    another search.

    With `storage`, the URL of one of Optuna's, trials are kept there, and any number of searches on any machines do
    them together, each choosing by all that are done: their order then is chance. Each writes both files when all are.
    """

    def __init__(self, settings: TrainSettings, folder: Path, trials: int, *, storage: str | None = None) -> None:
        check_installed("optuna")
        self._settings, self._folder, self._storage = settings, folder, storage
        self._trials = whole("trials", trials, 1, MOST_TRIALS)
        self.timesteps = trials * settings.total_timesteps()
        evaluation = settings.evaluation
        scenario = evaluation.prepare(load_scenario(settings.scenario), settings.engine, evaluation.choices)
        question = question_of(settings, scenario, resumed=False)
        self._question = replace(
            question, command="train --search", arguments={**question.arguments, "trials": self._trials}
        )
        about = [scenario.model_dump(mode="json"), settings.seed, settings.engine, dict(question.arguments)]
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        self._header = with_sources(
            f"# deeprec train --search {settings.algo}, {digest}", (*RESULTS, "envs", "policies", "agents")
        )
        self._known: dict[int, Trial] = {}
        make_folder("output", folder)
        self.csv = folder / "trials.csv"
        check_writable("output", self.csv)
        if self.csv.exists():
            self._read()

    def run(self, progress: Update = lambda what, steps: None) -> FoundHyperparams:
        """Train what is missing. Raises `InputError` where every trial has failed."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)  # below, an interrupt is a traceback of its own
        base, objective = self._settings.parameters(), self._settings.evaluation.objective

        def value(trial: Any) -> float:
            changes = suggest(trial, self._settings.algo, base)
            if trial.number in self._known:
                progress("search", self._settings.total_timesteps())
            else:
                self._add(self._train(trial.number, changes, progress))
            found = self._known[trial.number].objective
            if found is None:
                raise optuna.TrialPruned
            return found

        if self._storage is None:
            study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=self._settings.seed))
            study.optimize(value, n_trials=self._trials)
        else:
            self._search_together(self._storage, value, progress)
        done = tuple(self._known[number] for number in range(self._trials))
        judged = [trial for trial in done if trial.objective is not None]
        if not judged:
            raise InputError("trials", self._trials, f"must be more: every one has failed (see {self.csv})")
        best = min(judged, key=lambda trial: trial.objective or 0.0)
        file = self._folder / f"{self._settings.algo}.yml"
        self._write_best(file, best, objective)
        return FoundHyperparams(file, objective, done, best, self._question)

    def _search_together(self, storage: str, value: Callable[[Any], float], progress: Update) -> None:
        """Do trials of the study that is named by this search's header until there are enough, others' included."""
        import optuna
        from optuna.trial import TrialState

        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        try:
            study = optuna.create_study(storage=storage, study_name=self._header, load_if_exists=True)
        except Exception as error:  # of Optuna, of SQLAlchemy, or of a database's driver that is not there
            last = str(error).strip().splitlines()[:1]
            raise InputError("storage", storage, f"must be the URL of an Optuna storage ({' '.join(last)})") from None
        study.sampler = optuna.samplers.TPESampler(seed=self._settings.seed + len(study.trials), constant_liar=True)

        def kept(trial: Any) -> float:
            try:
                return value(trial)
            finally:
                if trial.number in self._known:
                    trial.set_user_attr(_KEPT, asdict(self._known[trial.number]))

        self._take(study.get_trials(states=ended))
        progress("search", len(self._known) * self._settings.total_timesteps())
        while len(self._known) < self._trials:
            study.optimize(kept, n_trials=1)
            self._take(study.get_trials(states=ended))
        self._write()

    def _take(self, trials: Sequence[Any]) -> None:
        """Know the first trials of a study, numbered in their order without those that were interrupted."""
        kept = [Trial(**trial.user_attrs[_KEPT]) for trial in trials if _KEPT in trial.user_attrs]
        self._known = {number: replace(trial, trial=number) for number, trial in enumerate(kept[: self._trials])}

    def _train(self, number: int, changes: dict[str, Any], progress: Update) -> Trial:
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".trial-") as folder:
            path = Path(folder) / "hyperparams.yml"
            path.write_text(yaml.safe_dump(self._mapping(changes)), encoding="utf-8")
            settings = replace(self._settings, hyperparams=path, timesteps=self._settings.total_timesteps(), log=())

            def told(what: str, steps: int) -> None:
                progress(f"search: trial {number + 1} of {self._trials}", steps)

            try:
                trained = train(settings, Path(folder) / "run", progress=told)
            except InputError:
                raise
            except ValueError:  # what torch says of weights that are no numbers any more
                return Trial(number, None, 0, 0, json.dumps(changes))
        objective = trained.best[self._settings.evaluation.objective]
        at = int(trained.best["timesteps"])
        return Trial(number, objective if math.isfinite(objective) else None, at, trained.queries, json.dumps(changes))

    def _mapping(self, changes: dict[str, Any]) -> dict[str, Any]:
        return {self._settings.spec.hyperparams_key: self._settings.parameters().raw | changes}

    def _write_best(self, file: Path, best: Trial, objective: str) -> None:
        with replacing(file) as text:
            steps = self._settings.total_timesteps()
            text.write(
                f"# RL Zoo format. The best of {self._trials} trainings of {steps:,} steps by the {objective} of "
                f"validation days, {best.objective!r} (deeprec train --search).\n"
            )
            yaml.safe_dump(self._mapping(json.loads(best.changes)), text, sort_keys=False)

    def _add(self, trial: Trial) -> None:
        self._known[trial.trial] = trial
        self._write()

    def _write(self) -> None:
        with replacing(self.csv) as file:
            file.write(self._header + "\n")
            writer = csv.DictWriter(file, [column.name for column in fields(Trial)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(each) for each in self._known.values())

    def _read(self) -> None:
        with self.csv.open(encoding="utf-8", newline="") as file:
            header = file.readline().rstrip("\n")
            rows = list(csv.DictReader(file))
        check_header(self.csv, header, self._header, "holds a search with other settings or an older version")
        try:
            trials = [_trial(row) for row in rows]
        except (KeyError, TypeError, ValueError):
            raise InputError("output", str(self.csv), "is damaged; remove it to begin anew") from None
        self._known = {trial.trial: trial for trial in trials}


def _trial(row: dict[str, str]) -> Trial:
    json.loads(row["changes"])
    objective = float(row["objective"]) if row["objective"] else None
    return Trial(int(row["trial"]), objective, int(row["best_timesteps"]), int(row["queries"]), row["changes"])
