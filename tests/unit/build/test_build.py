"""What a build says of what it does."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.build import build as build_module
from flows.build.build import Build, run_pending
from flows.build.warehouse import PendingWork
from flows.settings import Settings


@pytest.mark.parametrize(
    ("why", "expected"),
    [("it was edited", ["everything is built again: it was edited"]), (None, [])],
)
def test_who_retries_sees_why_everything_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str | None, expected: list[str]
) -> None:
    said: list[str] = []
    pending = PendingWork(everything=True, why_everything=why)
    monkeypatch.setattr(build_module, "read_project", lambda settings: SimpleNamespace())
    monkeypatch.setattr(build_module, "read_pending_work", lambda settings, project: pending)
    monkeypatch.setattr(build_module, "run_build", lambda settings, arguments, progress: Build())
    run_pending(Settings(home=tmp_path), said.append)
    assert said == expected
