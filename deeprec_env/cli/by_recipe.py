"""`deeprec train --recipe`: an agent by a schedule of its own, or one for each of several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeprec_env import console
from deeprec_env.arguments import choice, whole
from deeprec_env.cli.day_note import tell_day
from deeprec_env.cli.options import print_result
from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.progress import part
from deeprec_env.scenario.load import load_scenario

RECIPES = ("specialist",)
MOST_SEEDS = 1000


def train_by_recipe(
    name: str,
    scenario: str,
    env: str,
    *,
    seed: int,
    seeds: int | None,
    output: Path | None,
    resume: bool,
    json: bool,
    left_out: Mapping[str, Any],
) -> None:
    """Train by a recipe and print what came of it.

    `left_out`: options of trainings without a recipe, None where they were not given. With `seeds` each has a folder of
    its own; `resume` leaves those alone that have finished.
    """
    choice("recipe", name, RECIPES)
    for option, value in left_out.items():
        if value is not None:
            raise InputError(option.replace("_", "-"), value, f"has no effect with --recipe {name}")
    check_installed("torch")
    from deeprec_env.agents.specialist.recipe import Recipe, prepare_scenario
    from deeprec_env.agents.specialist.teacher import find_teacher
    from deeprec_env.agents.specialist.training import SUMMARY, train_specialist

    stem = Path(scenario).stem
    recipe = Recipe(scenario, stem, env, seed)
    spec, prepared, _ = prepare_scenario(recipe)
    tell_day(scenario, load_scenario(scenario), prepared, quiet=json)
    version = "" if env == "serving" else "-v2"
    if seeds is None:
        folder = output or Path("runs/train") / f"{stem}-{name}{version}-{seed}"
        kept = f"the best agent so far is in {folder}, if there is one yet; the training begins anew"
        with console.telling(f"train {stem}", quiet=json, kept=kept) as progress:
            answer = train_specialist(recipe, folder, progress).to_json()
        print_result(answer, json)
        return
    whole("seeds", seeds, 1, MOST_SEEDS)
    parent = output or Path("runs/train") / stem / f"{name}{version}"
    folders = {each: parent / str(each) for each in range(seed, seed + seeds)}
    waiting = [each for each in folders if not (resume and (folders[each] / SUMMARY).exists())]
    for each in waiting:
        if (folders[each] / SUMMARY).exists():
            raise InputError("output", str(folders[each]), "holds a training already; go on with --resume")
    answers = []
    kept = f"trainings that have finished are in {parent}; the same command with --resume goes on"
    with console.telling(f"train {stem}", quiet=json, kept=kept) as progress:
        teacher = find_teacher(spec, prepared, recipe.queries, part(progress, 0.0, 0.1)) if waiting else None
        for done, each in enumerate(waiting):
            begin, end = (0.1 + 0.9 * (done + more) / len(waiting) for more in (0, 1))
            of_seed = part(progress, begin, end, f"seed {each}: ")
            answers.append(train_specialist(Recipe(scenario, stem, env, each), folders[each], of_seed, teacher))
    told = {"folder": str(parent), "trained": waiting}
    scores = {str(answer.facts["seed"]): answer.facts["chosen"]["score"] for answer in answers}
    print_result({"schema_version": 1, **told, "scores": scores}, json)
