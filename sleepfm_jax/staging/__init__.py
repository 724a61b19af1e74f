"""Staging from every subset of signals: several trained models in one table.

`rows` gathers what trainings left behind (a row: a model, a cohort, a subset, all its seeds),
`scorers` adds what a second person would say, `tables` scores them.
"""
