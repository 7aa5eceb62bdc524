"""Flows: extracts land, models build, marts are published."""
