"""Sleep foundation models in JAX/Flax."""

from importlib import metadata

try:
    __version__ = metadata.version("sleepfm-jax")
except metadata.PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+checkout"
