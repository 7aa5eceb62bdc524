"""A copy of the project that may be broken."""

import re
import shutil
from pathlib import Path
from typing import Any

from flows.contract.spec import PROJECT

SHAPES = ("dbt_project.yml", "profiles", "models", "macros", "seeds", "tests/generic", "tests/singular")


class Workshop:
    """A copy of the project whose models can be broken and fixed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in SHAPES:
            source, target = PROJECT / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        self._whole: dict[Path, str] = {}

    def break_model(self, name: str) -> None:
        """Let a model fail while its rows are made, after the first of them."""
        path = next(self.folder.glob(f"models/**/{name}.sql"))
        whole = self._whole[path] = path.read_text()
        path.write_text(
            f"select * from (\n{whole}\n) as made where error('out of ' || cast(random() as varchar)) is null"
        )

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        path = self.folder / name
        if path.exists():
            self._whole[path] = path.read_text()
        path.write_text(text)

    def set_variables(self, variables: dict[str, Any]) -> None:
        """Give variables of the project other values, for good."""
        text = (self.folder / "dbt_project.yml").read_text()
        for name, value in variables.items():
            text, found = re.subn(rf"(?m)^(  {name}: ).*$", rf"\g<1>{value}", text)
            assert found == 1, f"dbt_project.yml has {found} variables {name}"
        (self.folder / "dbt_project.yml").write_text(text)

    def set_data_tests(self, settings: str) -> None:
        """Give the project's tests of data other settings, for good."""
        path = self.folder / "dbt_project.yml"
        text, found = re.subn(
            r"(?m)^data_tests:\n  tidemark:\n(    .*\n)+", f"data_tests: {{tidemark: {settings}}}\n", path.read_text()
        )
        assert found == 1, f"dbt_project.yml has {found} settings of tests of data"
        path.write_text(text)

    def fix(self) -> None:
        """Put back what was broken."""
        for path, whole in self._whole.items():
            path.write_text(whole)
