"""The command behind ``make contract`` and ``make contract-check``."""

import click

from flows.contract.generate import build_descriptors, differences, generate
from flows.contract.spec import PROJECT


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where a committed file is out of date.")
def main(check: bool) -> None:
    """Generate what follows from the contract."""
    files = generate(build_descriptors(PROJECT), PROJECT)
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
