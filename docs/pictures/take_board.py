"""Take the docs' pictures of boards: ``python docs/pictures/take_board.py``, after `make demo`, with Chromium.

It opens the site of the current publication below TIDEMARK_HOME.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from flows.settings import Settings

FOLDER = Path(__file__).parent
# The boards, the name of the picture of each, and its height.
BOARDS = {
    "audience": ("board", 860),
    "attractive_adverts": ("attractive_adverts", 860),
    "calls_about": ("calls_about", 800),
    "read_and_enjoyed": ("read_and_enjoyed", 980),
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main(boards: list[str]) -> None:
    """Take those of these boards, of all where none is named."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    for board in boards or BOARDS:
        picture, height = BOARDS[board]
        page = (Settings().published / "site/boards" / board / "index.html").resolve()
        if browser is None or not page.exists():
            sys.exit(f"it takes a browser ({', '.join(BROWSERS)}) and {page}, which `make demo` makes")
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--window-size=1120,{height}",
        ]
        command = [browser, *options, f"--screenshot={FOLDER / picture}.png", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main(sys.argv[1:])
