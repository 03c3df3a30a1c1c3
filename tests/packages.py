"""Programs that tests need besides Python's: packages of the system, installed where they lack."""

from __future__ import annotations

import faulthandler
import os
import shutil
import subprocess
from typing import Final

__all__ = ["install"]

INSTALLED_WITHIN_S: Final = 900.0


def install(package: str) -> None:
    """Install a package of Debian or Ubuntu, as root or by a sudo that asks for no password.

    Raises:
        RuntimeError: it cannot be installed here; the message says what to do.
    """
    wanted = f"these tests need {package}; install it, as in `apt-get install {package}`"
    if shutil.which("apt-get") is None:
        raise RuntimeError(wanted)
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]  # another one may be at work
    if os.geteuid() != 0:
        apt = ["sudo", "-n", *apt]
    # It may take minutes, which would end the run as a test that hangs; it has its own time limit.
    faulthandler.cancel_dump_traceback_later()
    for step in (["update"], ["install", "-y", "--no-install-recommends", package]):
        done = subprocess.run(
            [*apt, *step],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALLED_WITHIN_S,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{wanted} ({' '.join(step)}: {done.stderr[-500:]})")
