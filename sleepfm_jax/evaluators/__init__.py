"""Guests of the loop: what is looked at while a run goes on, and after its last step.

Rows of `config.evaluators`: `kind` names the file here, whose `make(row, objective)` gives the
evaluator (`evaluator.Evaluator`). A kind with a dot is a module from elsewhere.
"""
