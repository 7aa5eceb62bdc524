"""Declarations of extracts, as files."""

from pathlib import Path
from typing import Any

import yaml


def written(folder: Path, read: Any, name: str = "crm.yml") -> Path:
    """A file of ``extracts/`` with this text, or with this as YAML."""
    path = folder / name
    path.write_text(read if isinstance(read, str) else yaml.safe_dump(read))
    return path
