"""Tuning: who proposes params, how much training a trial gets, and where it runs.

Optuna calls a whole search a "study"; here that is a tuning stage.
"""
