"""What is trained: each a model, perhaps heads, and a loss; one file each, found by its name.

`config.objective.kind` names the file; its `make(config, model)` gives the objective
(`objective.Objective`), its `KEYS` the section that it reads. A kind with a dot is a module from
elsewhere.
"""
