"""Whom models and datasets belong to."""

from functools import cache

import yaml

from flows.contract.spec import PROJECT, load_specs


@cache
def owners() -> frozenset[str]:
    """Whom models, by their groups, and datasets, by the contract, belong to."""
    groups = yaml.safe_load((PROJECT / "models" / "_groups.yml").read_text())["groups"]
    return frozenset({group["owner"]["name"] for group in groups} | {spec.owner for spec in load_specs().values()})
