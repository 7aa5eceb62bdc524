"""Orchestration: which job runs when, in Prefect, and what became of it."""
