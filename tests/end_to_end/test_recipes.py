"""The recipes of the docs, performed as written: in a copy of the project, up to published tables with rows."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from flows.contract.spec import PROJECT
from tests.support.recipes import Recipe, read_recipe, recipe_of

GUIDES = PROJECT / "docs" / "guides"
RECIPES = {
    "event": read_recipe(GUIDES / "add-an-event.md", "Add an event"),
    "dataset": read_recipe(GUIDES / "add-a-dataset.md", "Add a dataset"),
    "model": read_recipe(GUIDES / "models.md", "A worked example"),
}
# Commands that go over the whole project. They are performed on what the recipes touch: `make test` by the tests below.
WHOLE = {"make test", "make lint"}
GENERATE = "make format contract"
RUN = ".venv/bin/tidemark run"
# The tests that hold what is written by hand against the contract and the rules of the project.
FOLLOWING = [
    "tests/unit/contract/test_spec.py",
    "tests/unit/contract/test_generate.py",
    "tests/unit/land/test_conform.py::test_the_same_events_land_as_the_same_rows_in_every_format",
    "tests/integration/sample/test_follows_contract.py::test_every_recipe_is_of_the_contract",
]


class Copy:
    """A copy of the project that shares this environment, and what its commands printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=PROJECT, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            if (PROJECT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, folder / name)
        (folder / ".venv").mkdir()
        for path in Path(sys.prefix).iterdir():
            if not path.name.startswith("."):
                (folder / ".venv" / path.name).symlink_to(path)
        # The environment is in place: make has nothing to install.
        (folder / ".venv" / ".installed").touch()
        # The copy's own modules, not those that the environment was installed with.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TIDEMARK_", "DBT_", "MAKE", "PYTEST_"))}
        self.environment = kept | {"PYTHONPATH": str(folder), "TIDEMARK_SETTLE_SECONDS": "0"}

    def run(self, command: str) -> str:
        """What a command prints; it must succeed."""
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The project with every recipe's files written and what follows from them generated, its sample published."""
    copy = Copy(tmp_path_factory.mktemp("recipes") / "project")
    for recipe in RECIPES.values():
        for file in recipe.files:
            file.apply(copy.folder)
    copy.run(".venv/bin/buf format -w && make contract")
    copy.run("make demo DEMO_EVENTS=20000 DEMO_DAYS=3")
    return copy


def written(ending: str) -> list[Path]:
    return [file.path for recipe in RECIPES.values() for file in recipe.files if file.path.suffix == ending]


def test_a_recipe_writes_generates_and_runs() -> None:
    """Were the docs read wrongly, everything below would perform nothing."""
    event, dataset, model = RECIPES.values()
    assert [file.path.suffix for file in event.files] == [".proto", ".proto", ".sql", ".yml"]
    assert [file.path.suffix for file in dataset.files] == [".proto", ".ndjson"]
    assert [file.path.suffix for file in model.files] == [".sql", ".yml"]
    assert GENERATE in event.commands and GENERATE in dataset.commands
    assert all(RUN in recipe.commands for recipe in RECIPES.values())


def test_every_new_table_is_published_with_rows(copy: Copy) -> None:
    with duckdb.connect(str(copy.folder / "data/published/current/marts.duckdb"), read_only=True) as marts:
        for path in written(".sql"):
            assert marts.sql(f"select count(*) from {path.stem}").fetchall()[0][0] > 0, path.stem


def test_the_commands_of_the_recipes_work(copy: Copy) -> None:
    """Each as it is written, but for those that were performed and those that the whole project's tests take."""
    done = {GENERATE, RUN, *WHOLE}
    commands = [command for recipe in RECIPES.values() for command in recipe.commands if command not in done]
    said = "".join(copy.run(command) for command in dict.fromkeys(commands))
    for path in written(".ndjson"):
        for line in (copy.folder / path).read_text().splitlines():
            assert next(iter(json.loads(line).values())) in said
    # In short, and at length with an example: the same commands.
    (name,) = {path.stem for path in written(".sql") if path in {file.path for file in RECIPES["model"].files}}
    short = [
        command.replace("<name>", name) for command in read_recipe(GUIDES / "add-a-model.md", "Add a model").commands
    ]
    assert short and set(short) <= set(RECIPES["model"].commands)


def test_what_the_recipes_write_passes_the_checks(copy: Copy) -> None:
    models = " ".join(map(str, written(".sql")))
    copy.run(f".venv/bin/sqlfluff lint --disable-progress-bar {models}")
    copy.run(".venv/bin/buf lint && make contract-check")
    copy.run(f".venv/bin/python -m pytest -q -n 0 -p no:cacheprovider {' '.join(FOLLOWING)}")
    names = " ".join(f"{path.stem},test_type:unit" for path in written(".sql"))
    said = copy.run(f".venv/bin/dbt test --select {names}")
    assert all(f"PASS {path.stem}::" in said for path in written(".sql")), said


# --- reading recipes -------------------------------------------------------------------------------------------------


def recipe(section: str) -> Recipe:
    return recipe_of("Add a thing", section)


def test_a_block_without_a_file_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'Add a thing': no file is named before the block that begins 'select 1"):
        recipe("1. Write this:\n\n   ```sql\n   select 1\n   ```\n")
    with pytest.raises(ValueError, match="in the middle"):
        recipe("1. `a/b.sql`, in the middle:\n\n   ```sql\n   select 1\n   ```\n")


def test_a_file_goes_where_the_text_says(tmp_path: Path) -> None:
    (tmp_path / "a.proto").write_text("message A {\n  oneof payload {\n    B b = 1;\n  }\n  int c = 2;\n}\n")
    section = """
1. One. `./a.proto`, at the end of the oneof:

   ```proto
   D d = 3;
   ```

   `./a.proto`, at the end:

   ```proto
   message D {
     int e = 1;
   }
   ```
2. Two. `x/b.sql`:

   ```sql
   select 1
   ```

   ```sh
   make b   # a remark
   ```
"""
    found = recipe(section)
    for file in found.files:
        file.apply(tmp_path)
    assert found.commands == ("make b",)
    first, second = (tmp_path / "a.proto").read_text().split("\n\n")
    assert first == "message A {\n  oneof payload {\n    B b = 1;\n    D d = 3;\n  }\n  int c = 2;\n}"
    assert second == "message D {\n  int e = 1;\n}\n"
    assert (tmp_path / "x/b.sql").read_text() == "select 1\n"
    with pytest.raises(ValueError, match="exists already"):
        found.files[-1].apply(tmp_path)
    (tmp_path / "a.proto").write_text("message A {}\n")
    with pytest.raises(ValueError, match=r"no oneof to add to"):
        found.files[0].apply(tmp_path)
