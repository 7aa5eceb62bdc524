"""When the catalogue is made again."""

import sys
from pathlib import Path

import pytest

from flows.catalogue import catalogue
from flows.catalogue.catalogue import RECORD, catalogue_fingerprint, project_catalogue
from flows.catalogue.record import ProjectRecord
from flows.contract.spec import PROJECT
from flows.errors import TidemarkError

# What is made takes ten seconds: tests/end_to_end/test_site.py has it.
NOW = ProjectRecord(fingerprint=catalogue_fingerprint(PROJECT), tables={})


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often it was made."""
    times: list[str] = []

    def make() -> None:
        times.append("made")
        (tmp_path / RECORD).write_text(NOW.model_dump_json())

    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    monkeypatch.setattr(catalogue, "_make", make)
    return times


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(None, id="none"),
        pytest.param(ProjectRecord(fingerprint="before", tables={}).model_dump_json(), id="of other files"),
        pytest.param("{", id="damaged"),
    ],
)
def test_it_is_made_once_for_each_state_of_the_project(tmp_path: Path, made: list[str], before: str | None) -> None:
    if before:
        (tmp_path / RECORD).write_text(before)
    assert project_catalogue().record == NOW == project_catalogue().record
    assert made == ["made"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "target").write_text("a file")
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path / "target" / "catalogue")
    with pytest.raises(TidemarkError, match=f"the catalogue cannot be written to {tmp_path}"):
        project_catalogue()


def test_that_it_could_not_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path / "catalogue")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(TidemarkError, match="the catalogue could not be made: it ended with 1"):
        project_catalogue()
