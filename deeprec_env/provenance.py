"""What a result was asked: enough to ask it again, in another clone, without the files that described it.

A `Question` stands under the key "question" of a result's JSON; `deeprec rerun` reads it there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from types import NoneType
from typing import Any

from deeprec_env.errors import InputError
from deeprec_env.scenario.control import FURTHER
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.quality import quality_file
from deeprec_env.scenario.schema import Scenario
from deeprec_env.sources import RESULTS, sources_digest

KEY = "question"
"""Of a result's JSON."""


@dataclass(frozen=True)
class Question:
    """A command and all that its result follows from, the code aside.

    `scenario`: as resolved, every change of a command line in it; None for a question about a space of pipelines, whose
    `config` is among the arguments. `arguments`: the keyword arguments beside scenario, seed and engine, as plain JSON.
    `split`: of the traffic. `files`: SHA-256 of the content of each file that is referred to, by the name or path that
    it has there. `sources`: digest of what of the code it `covers` (empty: of the code as it is). Where `unrepeatable`
    is not empty it says why the result can't be had again from this alone.
    """

    command: str
    scenario: Scenario | None
    seed: int
    split: str
    engine: str
    arguments: Mapping[str, Any]
    files: Mapping[str, str]
    covers: tuple[str, ...] = RESULTS
    sources: str = ""
    unrepeatable: str = ""

    @property
    def about(self) -> Scenario:
        """The scenario; `InputError` where there is none."""
        if self.scenario is None:
            raise InputError(f"{KEY}.scenario", None, f"must be a scenario: {self.command} is about one")
        return self.scenario

    def to_json(self) -> dict[str, Any]:
        """As it stands in results."""
        return {
            "command": self.command,
            "scenario": None if self.scenario is None else self.scenario.model_dump(mode="json"),
            "setting": None if self.scenario is None else _setting(self.scenario),
            "seed": self.seed,
            "split": self.split,
            "engine": self.engine,
            "arguments": dict(self.arguments),
            "files": dict(self.files),
            "sources": self.sources or sources_digest(self.covers),
            **({"unrepeatable": self.unrepeatable} if self.unrepeatable else {}),
        }

    @classmethod
    def of_json(cls, data: Any) -> Question:
        """What `to_json` gave; `InputError` for anything else, and where a file is missing or holds something else."""
        given = _checked(data)
        for name, digest in given["files"].items():
            if Path(name).is_absolute() and not Path(name).is_file():
                raise InputError("files", name, f"is missing; the result was computed from it (SHA-256 {digest})")
        scenario = None if given["scenario"] is None else load_scenario(given["scenario"])
        files = {} if scenario is None else file_digests(scenario)
        for name, digest in given["files"].items():
            if name not in files:
                files[name] = _sha256(name, quality_file(name))
            if files[name] != digest:
                raise InputError("files", name, f"must hold what the result was computed from (SHA-256 {digest})")
        return cls(
            command=given["command"],
            scenario=scenario,
            seed=given["seed"],
            split=given["split"],
            engine=given["engine"],
            arguments=given["arguments"],
            files=files,
            sources=given["sources"],
            unrepeatable=str(given.get("unrepeatable", "")),
        )


def ask(
    command: str,
    scenario: Scenario | None,
    *,
    seed: int,
    split: str,
    engine: str,
    sources: Sequence[str] = RESULTS,
    unrepeatable: str = "",
    quality_table: str | None = None,
    paths: Sequence[Path] = (),
    **arguments: Any,
) -> Question:
    """The question of a command; `sources` names what of the package its answer follows from.

    `quality_table`: one that it looks up beside the scenario's. `paths`: further files that its answer follows from.
    """
    files = {} if scenario is None else file_digests(scenario)
    files |= {str(path.resolve()): _sha256(str(path), path) for path in paths}
    if quality_table is not None:
        files[quality_table] = _sha256(quality_table, quality_file(quality_table))
    return Question(
        command=command,
        scenario=scenario,
        seed=seed,
        split=split,
        engine=engine,
        arguments=arguments,
        files=files,
        covers=tuple(sources),
        unrepeatable=unrepeatable,
    )


def asked(question: Question | None) -> dict[str, Any]:
    """The part of a result's JSON that says what it was asked; none where that is not known."""
    return {} if question is None else {KEY: question.to_json()}


def file_digests(scenario: Scenario) -> dict[str, str]:
    """SHA-256 of the files that a scenario refers to, by the names they have in it."""
    components = (scenario.workload.arrivals, scenario.workload.sizes, *scenario.latencies)
    found = {name: file for component in components for name, file in component.files.items()}
    if scenario.quality_table is not None:
        found[scenario.quality_table] = quality_file(scenario.quality_table)
    return {name: _sha256(name, file) for name, file in sorted(found.items())}


def read_result(path: Path) -> dict[str, Any]:
    """A result's JSON from a file; `InputError` unless it is one, with a question."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("result", str(path), f"must be the JSON of a result ({error})") from None
    if not isinstance(data, dict) or not isinstance(data.get(KEY), dict):
        raise InputError("result", str(path), f"must be the JSON of a result, with its {KEY}")
    return data


_FIELDS: dict[str, tuple[type, ...]] = {
    "command": (str,), "scenario": (dict, NoneType), "seed": (int,), "split": (str,), "engine": (str,),
    "arguments": (dict,), "files": (dict,), "sources": (str,),
}  # fmt: skip


def _setting(scenario: Scenario) -> dict[str, Any]:
    setting = scenario.setting
    named = {"plan": scenario.plan_names[setting.plan]} if scenario.plans else {}
    further = {name: getattr(setting, name) for name in scenario.controls if name in FURTHER}
    return {"batch_size": setting.batch_size, "threshold": setting.threshold, **named, **further}


def _checked(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise InputError(KEY, type(data).__name__, "must be a mapping")
    for name, types in _FIELDS.items():
        if name not in data or not isinstance(data[name], types) or isinstance(data[name], bool):
            kind = {str: "a text", int: "a whole number", dict: "a mapping"}[types[0]]
            raise InputError(f"{KEY}.{name}", data.get(name), f"must be {kind}")
    return data


def _sha256(name: str, file: Path | Traversable) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError("files", name, f"must be a readable file ({error.strerror or error})") from None
