"""Guests of the loop: what is looked at while a run goes on, and after its last step.

Rows of `config.evaluators`: `kind` names the file here, whose `make(row, objective)` gives the
evaluator (`evaluator.Evaluator`). The keys of a row are in `config.keys.KINDS`, or in `KEYS` of the
module itself. A kind with a dot is a module from elsewhere.
"""
