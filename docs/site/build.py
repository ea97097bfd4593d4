"""Pages in, website out: gathered in a temporary folder, built by Zensical, checked, then put in place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from deeprec_env.errors import InputError
from deeprec_env.extras import check_installed
from deeprec_env.files import make_folder
from deeprec_env.progress import Progress, Step, part, silent
from docs.site.commands import write_commands
from docs.site.environments import write_environments
from docs.site.keys import write_keys
from docs.site.links import page_names, problems
from docs.site.pages import ROOT, copy_pages, navigation
from docs.site.reference import write_reference
from docs.site.tutorials import write_tutorials

CONFIG = Path(__file__).parent / "site.yml"
SHIM = "https://unpkg.com/iframe-worker/shim"
"""What Zensical loads from elsewhere, for its search in pages that are opened as files; `assets` holds it."""

_FOLDER_ABOVE = re.compile(r'\bhref="((?:\./)?\.\.(?:/\.\.)*)/?"')


def build(output: Path, *, quick: bool = False, tell: Progress = silent) -> int:
    """Build the site into `output`, a folder that is replaced, and return how many pages it has.

    `quick`: without what takes its time, films of environments and outputs of tutorials. Raises `InputError` for the
    first of what is wrong: a warning, a link that leads nowhere, a page that loads anything from elsewhere.
    """
    for module in ("zensical", "mkdocstrings_handlers", *(() if quick else ("matplotlib",))):
        check_installed(module)
    make_folder("output", output.parent)
    if output.exists() and not (output / "index.html").is_file() and any(output.iterdir()):
        raise InputError("output", str(output), "must be a site's folder, an empty one, or none")
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as folder:
        source, site = Path(folder).resolve() / "docs", Path(folder).resolve() / "site"
        tell(Step("pages", 0.0))
        copy_pages(source)
        write_commands(source)
        write_keys(source)
        write_reference(source)
        if not quick:
            write_tutorials(source, part(tell, 0.02, 0.5))
        write_environments(source, not quick, part(tell, 0.5, 0.7))
        tell(Step("site", 0.7))
        _run_zensical(source, site)
        _serve_all_from_here(site)
        tell(Step("links", 0.95))
        wrong = problems(site)
        if wrong:
            raise InputError("site", wrong[0], f"must lead somewhere within the site ({len(wrong)} wrong)")
        if output.exists():
            shutil.rmtree(output)
        os.replace(site, output)
    return len(page_names(output))


def _run_zensical(source: Path, site: Path) -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config |= {"docs_dir": source.name, "site_dir": site.name, "nav": navigation(source)}
    for plugin in config["plugins"]:
        if "mkdocstrings" in plugin:
            plugin["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
    path = source.parent / "mkdocs.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(path)]
    ran = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    said = re.sub(r"\x1b\[[0-9;]*m", "", ran.stdout + ran.stderr)
    if ran.returncode or re.search(r"\bwarning\b", said, flags=re.IGNORECASE):
        sys.stderr.write(said)
        raise InputError("site", f"exit status {ran.returncode}", "Zensical must build it without a warning, see above")


def _serve_all_from_here(site: Path) -> None:
    """Let pages load the shim from the site itself, and link to files: a folder opened as a file is a listing."""
    for name in page_names(site):
        page = site / name
        here = "../" * name.count("/") + "assets/iframe-worker.js"
        text = _FOLDER_ABOVE.sub(r'href="\1/index.html"', page.read_text(encoding="utf-8").replace(SHIM, here))
        page.write_text(_relative(text) if name == "404.html" else text, encoding="utf-8")


def _relative(text: str) -> str:
    """A page of the site's root without links from the server's root, where the site need not be."""
    text = re.sub(r'\b(href|src)="/(?!/)', r'\1="./', text).replace('href="./"', 'href="./index.html"')
    return text.replace('"base":"/"', '"base":"."').replace('"search":"/', '"search":"./')
