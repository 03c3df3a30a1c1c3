"""A real Chromium, headless, for the tests that look at a page as a person's browser does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
TIMEOUT_S = 60.0


def found() -> str:
    """The browser's command; Debian's package is installed where there is none."""
    command = next((path for name in NAMES if (path := shutil.which(name))), None)
    if command is None:
        apt = ["apt-get"] if os.geteuid() == 0 else ["sudo", "-n", "apt-get"]
        subprocess.run([*apt, "update", "-qq"], check=True, timeout=300)
        subprocess.run([*apt, "install", "-y", "-qq", "chromium"], check=True, timeout=900)
        command = shutil.which("chromium")
    assert command is not None, "install Chromium: apt-get install chromium"
    return command


class Chromium:
    """Opens local pages, each in a fresh browser without a network."""

    def __init__(self, profile: Path) -> None:
        self._command = found()
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
