"""dbt's manifest of the project, and what tests ask of it."""

import functools
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from dbt.cli.main import dbtRunner

from flows.contract.spec import PROJECT

Manifest = dict[str, Any]
Node = dict[str, Any]


@functools.cache
def parse_project() -> Manifest:
    """dbt's manifest of the project as it is on disk, parsed afresh beside no one else's files."""
    with tempfile.TemporaryDirectory() as target, mock.patch.dict(os.environ, {"TIDEMARK_HOME": target}):
        done = dbtRunner().invoke(
            [
                *("parse", "--quiet", "--no-partial-parse"),
                *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT / "profiles")),
                *("--target-path", target, "--log-path", target),
            ]
        )
        assert done.success, f"dbt cannot parse the project: {done.exception}"
        manifest: Manifest = json.loads((Path(target) / "manifest.json").read_text())
        return manifest


def models(manifest: Manifest) -> list[Node]:
    return [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]


def layer_of(node_id: str, manifest: Manifest) -> str:
    """The folder below models/ of a model; else the kind of the node."""
    node = manifest["nodes"].get(node_id)
    if node is None or node["resource_type"] != "model":
        return node_id.split(".", maxsplit=1)[0]
    return Path(node["original_file_path"]).parts[1]


def without_comments(sql: str) -> str:
    return re.sub(r"\{#.*?#\}|--[^\n]*", "", sql, flags=re.DOTALL)
