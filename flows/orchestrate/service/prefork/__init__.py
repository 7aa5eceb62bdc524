"""Runs begin in a process that has everything imported."""
