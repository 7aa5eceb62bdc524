"""What tests share is in tests/support: a test module that another imports cannot be read, moved or run by itself."""

import ast
from collections.abc import Iterator

from flows.contract.spec import PROJECT


def imported(source: str) -> Iterator[str]:
    """The modules that a module imports, and each name from them: that may be a module too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{name.name}" for name in node.names)


def is_test(module: str) -> bool:
    first, *parts = module.split(".")
    return first == "tests" and any(part.startswith("test_") for part in parts)


def test_no_module_imports_a_test_module() -> None:
    found = [
        f"{path.relative_to(PROJECT)}: {module}"
        for folder in ("tests", "benchmarks", "flows")
        for path in sorted((PROJECT / folder).rglob("*.py"))
        for module in imported(path.read_text())
        if is_test(module)
    ]
    assert found == []


def test_an_import_of_a_test_module_is_seen() -> None:
    source = (
        "import tests.a.test_b\nfrom tests.a import test_c\nfrom tests.a.test_d import helper\nfrom tests.a import e"
    )
    assert [module for module in imported(source) if is_test(module)] == [
        "tests.a.test_b",
        "tests.a.test_c",
        "tests.a.test_d.helper",
    ]
