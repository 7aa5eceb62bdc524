"""Releases: the commit that the service runs."""
