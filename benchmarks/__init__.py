"""Measurements, each a ratio within one run on one machine: `make bench`, `make bench SIZE=10000000`."""
