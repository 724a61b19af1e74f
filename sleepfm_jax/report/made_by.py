"""Which code wrote a figure, and by which command."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path


def made_by(command: str) -> dict[str, str | None]:
    """{"command", "version" of this package, "commit" of its checkout (with "+" where there are
    other files than in it), None where it is no checkout}."""
    try:
        version = importlib.metadata.version("sleepfm-jax")
    except importlib.metadata.PackageNotFoundError:
        version = None
    return {"command": command, "version": version, "commit": _commit()}


def _commit() -> str | None:
    here = Path(__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # A package that is installed inside somebody else's checkout is not of that commit.
    if git("ls-files", Path(__file__).name) != Path(__file__).name:
        return None
    commit = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--", ":/")
    return commit and commit + ("+" if changed else "")
