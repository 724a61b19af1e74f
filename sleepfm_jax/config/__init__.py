"""Every key of a configuration, once; what it may be; and what an older one meant.

`keys` is the table (a new kind of model, objective or evaluator is an entry of `KINDS`), `checks`
holds configurations against it, `saved` reads those of checkpoints.
"""

from sleepfm_jax.config.checks import check, mesh_axes, warnings_for_data
from sleepfm_jax.config.keys import (
    EVALUATORS,
    KEYS,
    KINDS,
    RULES,
    Key,
    defaults,
    section_defaults,
)
from sleepfm_jax.config.saved import ANY_LENGTH, same_run, upgrade

__all__ = [
    "ANY_LENGTH",
    "EVALUATORS",
    "KEYS",
    "KINDS",
    "RULES",
    "Key",
    "check",
    "defaults",
    "mesh_axes",
    "same_run",
    "section_defaults",
    "upgrade",
    "warnings_for_data",
]
