"""A browser without a window, where one is installed."""

import shutil
import subprocess
import tempfile

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS = 300


def browser() -> str | None:
    """The browser's command, or None where none is installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def seen_in_browser(url: str, size: tuple[int, int] = (1280, 900)) -> tuple[str, str]:
    """A page after its scripts ran, as HTML, and what the browser said of it: errors, and what it was refused."""
    command = browser()
    assert command
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                command, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--disable-background-networking", "--enable-logging=stderr", f"--user-data-dir={profile}",
                f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=10000", "--dump-dom", url,
            ],
            capture_output=True, text=True, check=True, timeout=SECONDS,
        )  # fmt: skip
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
