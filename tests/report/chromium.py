"""A real Chromium, headless, for the tests that look at a page as a person's browser does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.packages import install

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MACOS = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
TIMEOUT_S = 60.0


def find() -> str | None:
    """The browser's command. None: there is none."""
    on_path = (path for name in NAMES if (path := shutil.which(name)))
    return next(on_path, str(MACOS) if MACOS.is_file() else None)


def install_and_find() -> str:
    """The command of Debian's package, for machines that have no such browser."""
    install("chromium")
    found = find()
    if found is None:
        raise RuntimeError("Chromium was installed, but its command was not found")
    return found


class Chromium:
    """Opens local pages, each in a fresh browser without a network."""

    def __init__(self, profile: Path) -> None:
        self._command = find() or install_and_find()
        self._profile = profile

    def _run(self, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                self._command,
                "--headless=new",
                "--no-sandbox",  # the tests may run as root
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                "--enable-logging=stderr",
                "--hide-scrollbars",
                "--virtual-time-budget=20000",
                f"--user-data-dir={self._profile}",
                *options,
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )

    def dom(self, page: Path, *options: str) -> tuple[str, list[str]]:
        """The document after its scripts ran, and what was said on the console."""
        done = self._run(page, "--dump-dom", *options)
        console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
        return done.stdout, console

    def screenshot(self, page: Path, picture: Path, width: int, *options: str) -> bytes:
        """A picture of the top of a page, as PNG."""
        self._run(page, f"--screenshot={picture}", f"--window-size={width},1400", *options)
        return picture.read_bytes()
