"""Folders that a run reads and writes: of this machine, or mounted on it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sleepfm_jax.errors import ConfigError


def local(folder: str | os.PathLike[str], name: str) -> Path:
    """A folder by its path, or by a file:// URL.

    Args:
      name: of the flag or argument, for the message.

    Raises:
      ConfigError: a bucket (gs://, s3://, …): as a path it would be a folder called "gs:" here.
    """
    text = os.fspath(folder)
    # One slash: what pathlib has made of the two.
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/(?:/|(?=[^/]))", text)
    if found is None:
        return Path(text)
    if found[1] == "file" and text.startswith("file:///"):
        return Path(text[len("file://") :])
    raise ConfigError(
        f"{name}={text}: training, probes and reports read and write folders of this machine, not "
        f"{found[1]}://: mount the bucket, or copy what is in it (launch.build alone reads and "
        "writes buckets itself)"
    )
