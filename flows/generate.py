"""Generate what follows from the contract: landing specs, raw models, their sources, docs and tests.

``python -m flows.generate`` writes the files; ``--check`` writes nothing and exits 1 where a committed file
differs from what the contract would generate.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import click
import yaml

from flows.contract import PROJECT, Column, DatasetSpec, specs_from_descriptors

NOTICE = "Generated from the contract by `make contract`; do not edit."
RAW = Path("models/raw")
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


def generate(descriptors: bytes) -> dict[Path, bytes]:
    """Every generated file's path in the project and its content."""
    specs = specs_from_descriptors(descriptors)
    files = {
        GENERATED / "contract.binpb": descriptors,
        RAW / "_landed__sources.yml": _sources_yaml(specs),
    }
    for spec in specs:
        files[GENERATED / f"{spec.name}.{spec.version}.json"] = (
            spec.model_dump_json(indent=2, exclude_defaults=True) + "\n"
        ).encode()
        files[RAW / f"raw_{spec.name}.sql"] = _raw_sql(spec).encode()
        files[RAW / f"raw_{spec.name}.yml"] = _raw_yaml(spec)
    return files


def _raw_columns(spec: DatasetSpec) -> list[Column]:
    """The landed columns, and the day where the dataset has one."""
    columns = list(spec.columns())
    if spec.day_of:
        day = Column(
            name="event_date",
            type="date",
            description=f"The day of {spec.day_of} in the organisation's time zone.",
            privacy="none",
            required=True,
        )
        columns.insert(len(columns) - 2, day)
    return columns


def _raw_sql(spec: DatasetSpec) -> str:
    expressions = [
        f"{{{{ local_date('{spec.day_of}') }}}} as event_date" if c.name == "event_date" else c.name
        for c in _raw_columns(spec)
    ]
    select = ",\n".join(f"    {e}" for e in expressions)
    return f"""-- {NOTICE}
-- {spec.description}
-- Appended from each new batch, as it landed.
{{{{ config(materialized='incremental', incremental_strategy='append') }}}}

with landed as (
    select * from {{{{ landed(source('landed', '{spec.name}')) }}}}
)

select
{select}
from landed
"""


def _column_yaml(column: Column) -> dict[str, object]:
    return {
        "name": column.name,
        "description": column.description,
        "data_type": "varchar[]" if column.type == "string[]" else column.type,
        "config": {"meta": {"privacy": column.privacy}},
    }


def _row_rule(columns: list[Column]) -> str:
    """What holds for every row, as one condition: a test of each column would be a query each."""
    rules = [f"{c.name} is not null" for c in columns if c.required]
    for column in columns:
        if column.accepted_values:
            values = ", ".join(f"'{value}'" for value in column.accepted_values)
            rules.append(f"{column.name} in ({values})" + ("" if column.required else f" or {column.name} is null"))
    return " and ".join(f"({rule})" if " or " in rule else rule for rule in rules)


def _raw_yaml(spec: DatasetSpec) -> bytes:
    columns = _raw_columns(spec)
    return _yaml(
        {
            "models": [
                {
                    "name": f"raw_{spec.name}",
                    "description": f"{spec.description} Appended from each new batch, as it landed.",
                    "config": {"meta": {"owner": spec.owner, "contract": f"{spec.message}"}},
                    "data_tests": [
                        {
                            "sound": {
                                "name": f"raw_{spec.name}_is_sound",
                                "arguments": {"key": ["_batch_id", "_line"], "rule": _row_rule(columns)},
                            }
                        }
                    ],
                    "columns": [_column_yaml(c) for c in columns],
                }
            ]
        }
    )


def _sources_yaml(specs: list[DatasetSpec]) -> bytes:
    tables = []
    for spec in specs:
        tables.append(
            {
                "name": spec.name,
                "description": f"{spec.description} Parquet, one file a batch, below lake/landed/{spec.name}/.",
                "config": {
                    "meta": {"owner": spec.owner, "contract": spec.message},
                    "loaded_at_query": (
                        "select max(landed_at) from landed.landings "
                        f"where dataset = '{spec.name}' and status = 'landed'"
                    ),
                    "freshness": {"warn_after": {"count": 36, "period": "hour"}},
                },
                "columns": [_column_yaml(c) for c in spec.columns()],
            }
        )
    return _yaml(
        {
            "sources": [
                {
                    "name": "landed",
                    "schema": "landed",
                    "description": "The landed zone: extracts verified and conformed to the contract.",
                    "tables": tables,
                }
            ]
        }
    )


def _yaml(node: dict[str, object]) -> bytes:
    body = yaml.dump({"version": 2, **node}, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)
    return f"# {NOTICE}\n{body}".encode()


class _Plain(yaml.SafeDumper):  # type: ignore[misc]
    """Writes what occurs twice twice, rather than as an alias."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def differences(files: dict[Path, bytes], project: Path) -> list[str]:
    """What the committed generated files lack, hold too much of or say differently, a line each."""
    found = [
        f"{path}: {'differs' if (project / path).exists() else 'missing'}"
        for path, content in files.items()
        if not (project / path).exists() or (project / path).read_bytes() != content
    ]
    present = {p.relative_to(project) for p in (project / GENERATED).glob("*")}
    present |= {p.relative_to(project) for p in (project / RAW).glob("*") if NOTICE in p.read_text(errors="replace")}
    return found + [f"{path}: no longer generated" for path in sorted(present - set(files))]


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where a committed file is out of date.")
def main(check: bool) -> None:
    """Generate what follows from the contract."""
    files = generate(build_descriptors(PROJECT))
    changed = differences(files, PROJECT)
    if check:
        if changed:
            raise click.ClickException(
                "generated files do not follow the contract; run `make contract` and commit:\n  " + "\n  ".join(changed)
            )
        click.echo(f"{len(files)} generated files follow the contract.")
        return
    for path, content in files.items():
        target = PROJECT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for line in changed:
        name, _, what = line.partition(": ")
        if what == "no longer generated":
            (PROJECT / name).unlink()
    click.echo(f"{len(files)} files generated, {len(changed)} changed.")


if __name__ == "__main__":
    main()
