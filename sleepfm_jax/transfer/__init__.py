"""The transfer paper's tasks: conditions → cells → predictions → tables (arXiv 2605.02500).

`conditions` says what is trained, `cells` trains it once however many ask, `probes` has the frozen
encoder and its baselines, `rows` puts predictions together, `tables` figures, `assembly` both;
`drive` does it all.
"""

from sleepfm_jax.transfer.conditions import BASELINES, CONDITIONS, MODES, Task
from sleepfm_jax.transfer.drive import Plan, transfer

__all__ = ["BASELINES", "CONDITIONS", "MODES", "Plan", "Task", "transfer"]
