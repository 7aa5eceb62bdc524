"""What is looked for in bytes is found wherever it stands, and nothing that only looks like it."""

from pathlib import Path
from uuid import UUID

import pytest

from flows.privacy import byte_scan
from flows.privacy.byte_scan import Patterns, files_with, forms_of

KEY = UUID("0b3c1f0e-2a44-8c1e-9d3b-5e2f7a6b1c00")


def is_in(data: bytes, folder: Path, patterns: Patterns) -> bool:
    path = folder / "file"
    path.write_bytes(data)
    return [*files_with(patterns, folder)] == [path]


@pytest.mark.parametrize("form", forms_of(KEY))
@pytest.mark.parametrize("chunk", [4, 7, 1 << 24])
def test_a_key_is_found_in_each_form_across_chunks(
    form: bytes, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_scan, "CHUNK", chunk)
    patterns = Patterns(forms_of(KEY))
    for before in range(9):
        assert is_in(b"\xff" * before + form + b"\xff", tmp_path, patterns)
        assert not is_in(b"\xff" * before + form[:-1] + b"\xff", tmp_path, patterns)


@pytest.mark.parametrize("chunk", [3, 5, 8, 1 << 24])
@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"account-1", True),
        (b'{"id":"account-1"}', True),
        (b"account-1\n", True),
        (b"x\naccount-1,account-12", True),
        (b"account-12", False),
        (b"my_account-1", False),
        (b"account-1-b", False),
        (b"account-12,account-13", False),
        (b"account-12,account-1", True),
        (b"1account-1 account-1", True),
        (b"accountant", False),
        (b"", False),
    ],
)
def test_a_word_is_found_where_it_stands_for_itself(
    data: bytes, found: bool, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_scan, "CHUNK", chunk)
    assert is_in(data, tmp_path, Patterns([], [b"account-1"])) is found


def test_as_many_as_begin_alike_are_found_as_fast(tmp_path: Path) -> None:
    """With one look for each of them at each place this would take hours."""
    patterns = Patterns([], [f"account-{number}".encode() for number in range(20_000)])
    (tmp_path / "large").write_bytes(b"account-99999999\n" * 300_000)
    assert [*files_with(patterns, tmp_path)] == []
