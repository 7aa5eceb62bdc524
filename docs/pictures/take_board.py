"""Take the README's picture of a board: ``python docs/pictures/take_board.py``, after `make demo`, with Chromium.

It opens the site of the current publication below TIDEMARK_HOME.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from flows.settings import Settings

PICTURE = Path(__file__).with_name("board.png")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Take it."""
    page = (Settings().published / "site/boards/audience/index.html").resolve()
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None or not page.exists():
        sys.exit(f"it takes a browser ({', '.join(BROWSERS)}) and {page}, which `make demo` makes")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1120,860"]
    subprocess.run([browser, *options, f"--screenshot={PICTURE}", page.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main()
