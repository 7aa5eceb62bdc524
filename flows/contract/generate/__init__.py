"""Generate what follows from the contract: landing specs, models with docs and tests, and the page of what is kept.

``python -m flows.contract.generate`` writes the files; ``--check`` writes nothing and exits 1 where a committed file
differs from what the contract would generate.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import click

from flows.contract.from_protobuf import specs_from_descriptors
from flows.contract.generate import columns, history, raw, staging
from flows.contract.generate.documents import NOTICE
from flows.contract.generate.privacy_page import PAGE, privacy_page
from flows.contract.spec import DatasetSpec

GENERATED = Path("contracts/generated")


def build_descriptors(project: Path) -> bytes:
    """Compile the contract with buf into a FileDescriptorSet, comments left out so that it is stable.

    Raises ``click.ClickException`` with buf's own words where the contract does not compile.
    """
    buf = Path(sys.executable).with_name("buf")
    with tempfile.NamedTemporaryFile(suffix=".binpb") as out:
        done = subprocess.run(
            [str(buf), "build", "--exclude-source-info", "-o", out.name],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise click.ClickException(f"the contract does not compile:\n{done.stderr or done.stdout}")
        return Path(out.name).read_bytes()


def generate(descriptors: bytes, project: Path) -> dict[Path, bytes]:
    """Every generated file's path in the project and its content.

    ``project`` holds the hand-written models of which only the columns are generated. Raises
    ``click.ClickException`` where the contract contradicts itself, or such a model lacks its marks.
    """
    try:
        specs = specs_from_descriptors(descriptors)
        files = {
            GENERATED / "contract.binpb": descriptors,
            raw.SOURCES: raw.sources_yaml(specs),
            PAGE: privacy_page(specs),
        }
        keys_of = {spec.keys_of: spec for spec in specs if spec.keys_of}
        for spec in specs:
            files |= _dataset(spec) | history.models(spec, keys_of.get(spec.name))
    except ValueError as error:
        raise click.ClickException(f"the contract: {error}") from error
    events = next((spec for spec in specs if spec.name == "events"), None)
    return files | (columns.of_events(events, project) if events else {})


def _dataset(spec: DatasetSpec) -> dict[Path, bytes]:
    landing = spec.model_dump_json(indent=2, exclude_defaults=True) + "\n"
    return {
        GENERATED / f"{spec.name}.{spec.version}.json": landing.encode(),
        raw.path_of(spec, "sql"): raw.model_sql(spec),
        raw.path_of(spec, "yml"): raw.model_yaml(spec),
        staging.path_of(spec, "sql"): staging.model_sql(spec),
        staging.path_of(spec, "yml"): staging.model_yaml(spec),
    }


def differences(files: dict[Path, bytes], project: Path) -> list[str]:
    """What the committed generated files lack, hold too much of or say differently, a line each."""
    found = [
        f"{path}: {'differs' if (project / path).exists() else 'missing'}"
        for path, content in files.items()
        if not (project / path).exists() or (project / path).read_bytes() != content
    ]
    present = {p.relative_to(project) for p in (project / GENERATED).glob("*")}
    for folder in (raw.FOLDER, staging.FOLDER, history.FOLDER):
        paths = [p for p in (project / folder).rglob("*") if p.is_file()]
        present |= {p.relative_to(project) for p in paths if NOTICE in p.read_text(errors="replace")}
    return found + [f"{path}: no longer generated" for path in sorted(present - set(files))]
