"""Try the project as it is on a small sample: what `tidemark deploy` has a release do before it becomes active.

    TIDEMARK_HOME=/an/empty/folder python -m flows.trial

What is generated must follow the contract and the schedule; a sample must land, build, pass every test and be
published; the unit tests must pass. Ends with 1, having said why, where one does not.
"""

import sys

import click

from flows import sample
from flows.build.dbt import run_dbt
from flows.contract.generate.__main__ import main as check_contract
from flows.errors import TidemarkError
from flows.orchestrate.describe import main as check_jobs
from flows.run import run
from flows.settings import Settings

EVENTS, DAYS, SEED = 20_000, 3, 1


def main() -> None:
    """Try it."""
    settings = Settings()
    try:
        for check in (check_contract, check_jobs):
            check(["--check"], standalone_mode=False)
        try_sample(settings)
        try_unit_tests(settings)
    except click.ClickException as error:
        sys.exit(error.format_message())
    except TidemarkError as error:
        sys.exit(str(error))


def try_sample(settings: Settings) -> None:
    """Land, build, test and publish a sample. Exits where a model or test fails."""
    sample.generate(settings.home, EVENTS, DAYS, SEED, progress=lambda line: None)
    done = run(settings)
    failed = done.build.failed if done.build else []
    for node in failed:
        print(f"{node.kind} {node.name} ({node.path}): {node.message or f'{node.failures:,} rows'}", flush=True)
    if done.build is None or not done.is_good:
        sys.exit(f"{len(failed):,} models and tests failed on a sample of {EVENTS:,} events")
    models, tests = done.build.count("model"), done.build.count("test")
    print(f"{EVENTS:,} events landed; {models:,} models built and published; {tests:,} data tests passed", flush=True)


def try_unit_tests(settings: Settings) -> None:
    """Run dbt's unit tests. Exits where one fails."""
    done = run_dbt(settings, ["test", "--select", "test_type:unit"])
    results = [result for result in done.results if str(result.node.resource_type) == "unit_test"]  # not the hooks
    failed = [result for result in results if str(result.status) != "pass"]
    for result in failed:
        print(f"unit test {result.node.name} ({result.node.original_file_path}): {result.message}", flush=True)
    if failed:
        sys.exit(f"{len(failed):,} of {len(results):,} unit tests failed")
    print(f"{len(results):,} unit tests passed", flush=True)


if __name__ == "__main__":
    main()
