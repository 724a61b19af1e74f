"""What is trained: each a model, perhaps heads, and a loss; one file each, found by its name.

`config.objective.kind` names the file; its `make(config, model)` gives the objective
(`objective.Objective`). The keys of its section are in `config.keys.KINDS`, or in `KEYS` of the
module itself. A kind with a dot is a module from elsewhere.
"""
