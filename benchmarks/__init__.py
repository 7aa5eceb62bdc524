"""Measurements, each a ratio within one run on one machine: `make bench`, `make bench SIZE=10000000`.

`python -m benchmarks full_build landing` takes only the tables named: landing, full_build, increments, latency, year.
"""
