"""Pictures of reports for these pages: python -m docs.site.screenshots FOLDER NAME=REPORT.html ...

Each at 1,280 and at 390 pixels, in Debian's chromium through Playwright; colours are reduced, so that a picture has
less than 150 kB.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SIZES = {1280: 1300, 390: 844}
"""Width and height of the window."""

MOST_BYTES = 150_000
_COLOURS = 256


def main(folder: Path, reports: dict[str, Path]) -> None:
    """Write `folder`/report-NAME-WIDTH.png of every report; raises `SystemExit` for one that is too large."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, report in reports.items():
            for width, height in SIZES.items():
                page = browser.new_page(viewport={"width": width, "height": height})
                page.goto(report.resolve().as_uri())
                shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(_COLOURS)
                path = folder / f"report-{name}-{width}.png"
                shot.save(path, optimize=True)
                page.close()
                if path.stat().st_size > MOST_BYTES:
                    raise SystemExit(f"{path} has {path.stat().st_size} bytes")
                print(path, path.stat().st_size)
        browser.close()


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[2:])
    main(Path(sys.argv[1]), {name: Path(path) for name, path in given.items()})
