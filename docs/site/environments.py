"""A page for each environment: its class's docstring, a film of an episode, and its baselines' figures.

The figures are those of the documentation, with the commands that gave them: what stands in a page between
`<!-- baselines: ID -->` and `<!-- baselines: end -->` stands on the environment's page too.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
from pathlib import Path

from deeprec_env.envs.environments import EARLIER, SPECS
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.progress import Progress, Step
from docs.site.film import film
from docs.site.pages import heading, rebased

FOLDER = "environments"
_BASELINES = re.compile(r"^<!-- baselines: (\S+) -->\n(.*?)^<!-- baselines: end -->$", re.MULTILINE | re.DOTALL)


def write_environments(source: Path, films: bool, tell: Progress) -> None:
    """Write the pages into the site's sources; `films`: with a film of each environment that can be drawn."""
    (source / FOLDER).mkdir()
    figures = baselines(source)
    for number, spec in enumerate(SPECS):
        tell(Step(f"film of {spec.id}", 0.1 + 0.6 * number / len(SPECS)))
        shown = film(spec, source / FOLDER / f"{stem(spec)}.webp") if films else ""
        (source / FOLDER / f"{stem(spec)}.md").write_text(page(spec, shown, figures.get(spec.id)), encoding="utf-8")
    rows = [f"| [{spec.id}]({FOLDER}/{stem(spec)}.md) | {_description(spec)[0]} |\n" for spec in SPECS]
    overview = source / "environments.md"
    earlier = ", ".join(f"`{spec.id}`" for spec in EARLIER)
    listed = (
        f"\n## Page by page\n\n| environment | |\n| --- | --- |\n{''.join(rows)}\nEarlier versions stay: {earlier}.\n"
    )
    overview.write_text(overview.read_text(encoding="utf-8") + listed, encoding="utf-8")


def stem(spec: EnvSpec) -> str:
    """The name of an environment's page: that of "DeepRec/Serving-v1" is "serving-v1"."""
    return spec.id.rpartition("/")[2].lower()


def baselines(source: Path) -> dict[str, tuple[str, Path]]:
    """The figures of each environment's baselines by its id, and the page that has them."""
    return {
        found[1]: (found[2].strip(), path)
        for path in sorted(source.glob("*.md"))
        for found in _BASELINES.finditer(path.read_text(encoding="utf-8"))
    }


def page(spec: EnvSpec, shown: str, figures: tuple[str, Path] | None) -> str:
    """An environment's page; `shown` is the film's Markdown, `figures` are the baselines' and the page they are of."""
    first, rest = _description(spec)
    made = f'import gymnasium as gym\n\nenv = gym.make("deeprec_env:{spec.id}", scenario="{spec.scenario}")'
    parts = [f"# {spec.id}", first, shown, f"```python\n{made}\n```", rest]
    if figures is not None:
        text, path = figures
        up = "../"
        parts += ["## Baselines", rebased(text, up), f"More of this: [{heading(path)}]({up}{path.name})."]
    return "\n\n".join(part for part in parts if part) + "\n"


def _description(spec: EnvSpec) -> tuple[str, str]:
    """The first line of the class's docstring, and the rest of it."""
    documented = inspect.getdoc(pkgutil.resolve_name(spec.env)) or ""
    first, _, rest = documented.partition("\n")
    return first, rest.strip()
