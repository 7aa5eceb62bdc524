"""What weakens the contract needs a whole approval, and the last release is found or it is said that it was not."""

import datetime
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flows.contract.approvals import __main__ as command
from flows.contract.approvals.entries import FILE, Entry, read_entries
from flows.contract.spec import GENERATED, PROJECT
from flows.errors import TidemarkError

WHOLE = {"change": "calls.channel: required dropped", "approved_by": "Åsa Ek", "reason": "Why.", "date": "2026-01-15"}
CALLS = Path("contracts/generated/calls.v1.json")
GUIDE = PROJECT / "docs" / "guides" / "change-a-field.md"
TODAY = datetime.date(2026, 1, 15)


def entry(**changes: Any) -> str:
    """An entry as a person writes it; None takes a part away."""
    said = {part: value for part, value in (WHOLE | changes).items() if value is not None}
    return "".join(f"{'- ' if not at else '  '}{part}: {json.dumps(said[part])}\n" for at, part in enumerate(said))


def faults(text: str) -> str:
    with pytest.raises(TidemarkError) as error:
        read_entries(text.encode(), TODAY)
    return str(error.value)


def test_entries_are_read_with_the_lines_they_stand_on() -> None:
    text = f"# Approvals\n\n{entry(date='2026-01-14')}\n# Another\n{entry(approved_by='  Bo  ')}"
    first, second = read_entries(text.encode(), TODAY)
    assert (first.line, second.line) == (3, 9)
    assert first.approval.model_dump() == WHOLE | {"date": datetime.date(2026, 1, 14)}
    assert second.approval.approved_by == "Bo"


@pytest.mark.parametrize("text", ["", "# Nothing yet.\n", "[]\n", "---\n"])
def test_a_file_without_entries_approves_nothing(text: str) -> None:
    assert read_entries(text.encode(), TODAY) == []


def test_the_committed_approvals_can_be_read_and_their_example_too() -> None:
    text = (PROJECT / FILE).read_text()
    read_entries(text.encode(), datetime.date.today() + datetime.timedelta(days=1))
    example = "".join(
        line.removeprefix("# ") for line in text.splitlines(keepends=True) if line[:4] in ("# - ", "#   ")
    )
    (found,) = read_entries(example.encode())
    assert found.approval.change.count(": ") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *((entry(**{part: None}), f":1: entry 1 has no {part}: give ") for part in WHOLE if part != "change"),
        *((entry(**{part: ""}), f":1: entry 1 has an empty {part}: give ") for part in WHOLE),
        *((entry(**{part: "  "}), f":1: entry 1 has an empty {part}: give ") for part in list(WHOLE)[:3]),
        (entry().replace('"Why."', "~"), "entry 1 has an empty reason: give why it is right"),
        (entry().replace('"Why."', "3"), "entry 1 has 3 as its reason: give why it is right"),
        (entry(date="2026-01-16"), ":1: entry 1 has a date to come, 2026-01-16"),
        (entry(date="2025-02-29"), "entry 1 has '2025-02-29' as its date: give the day it was approved, as in 2026-"),
        (entry(date="15 January"), "entry 1 has '15 January' as its date"),
        (entry().replace('"2026-01-15"', "20260115"), "entry 1 has 20260115 as its date"),
        (entry().replace('"2026-01-15"', "2026-01-15T10:00:00"), "entry 1 has '2026-01-15T10:00:00' as its date"),
        (entry() + "  resaon: x\n", "entry 1 has 'resaon', which is no part of an entry; did you mean 'reason'?"),
        (entry() + "\n" + entry(reason=""), ":6: entry 2 has an empty reason"),
        ("- calls.channel\n", ":1: entry 1 is to have change, approved_by, reason, date"),
        ("change: x\n", "approvals.yml: is to be a list of entries, each with change, approved_by, reason, date"),
        ("\n- change: a.b: required dropped\n", ":2: is no YAML: .*; a change has a colon in it and stands in quotes"),
        ("- \0", "approvals.yml: is no YAML: "),
    ],
)  # fmt: skip
def test_an_entry_that_is_not_whole_is_refused_with_its_line_and_what_it_lacks(text: str, words: str) -> None:
    said = faults(text)
    assert said.startswith(str(FILE))
    before, _, after = words.partition(".*")
    assert before in said and after in said


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(TidemarkError, match=r"approvals\.yml: is no YAML: .*utf-8"):
        read_entries(b"- \xff", TODAY)


def test_every_fault_of_the_file_is_said_at_once() -> None:
    said = faults(entry(reason="", approved_by=None) + entry() + entry(date="2026-02-01")).splitlines()
    assert [line.split(" has ")[0] for line in said] == [f"{FILE}:1: entry 1"] * 2 + [f"{FILE}:8: entry 3"]


def test_an_unquoted_date_is_read_as_a_quoted_one() -> None:
    quoted = entry()
    assert read_entries(quoted.encode()) == read_entries(quoted.replace('"2026-01-15"', "2026-01-15").encode())


def an_entry(change: str, line: int = 1) -> Entry:
    (found,) = read_entries(entry(change=change).encode())
    return Entry(line, found.approval)


def test_what_approves_nothing_is_named_with_its_line() -> None:
    found = [command.Weakening("a.b: required dropped", "required", "optional")]
    assert command.unused([an_entry("a.b: required dropped"), an_entry("a.c: required dropped", 7)], found) == [
        f"{FILE}:7: approves nothing: a.c: required dropped"
    ]


@pytest.mark.parametrize("pattern", [r"bot/|\bspider\b: 'it''s' # no \"remark\"", "å{1,9}|" * 60])
def test_the_entry_to_add_names_the_change_whatever_is_in_it(pattern: str) -> None:
    change = f"events.user_agent: flag is_bot changed, matching {pattern}"
    printed = command.refusal([command.Weakening(change, "bot", pattern)], "v1.0.0", TODAY)
    (line,) = (line for line in printed.splitlines() if line.startswith("- change: "))
    (found,) = read_entries(f"{line}\n  approved_by: Bo\n  reason: Why.\n  date: {TODAY}\n".encode())
    assert found.approval.change == change


# A clone, from here on.


class Clone:
    """A project of a contract and its approvals, in git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / GENERATED.relative_to(PROJECT)).mkdir(parents=True)
        for path in GENERATED.glob("*.json"):
            (folder / path.relative_to(PROJECT)).write_bytes(path.read_bytes())
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, message: str = "more") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def edit(self, change: Callable[[dict[str, Any]], None], path: Path = CALLS) -> None:
        """Change a generated spec."""
        spec = json.loads((self.folder / path).read_text())
        change(spec)
        (self.folder / path).write_text(json.dumps(spec))

    def approve(self, text: str) -> None:
        """Add to the approvals."""
        with (self.folder / FILE).open("a") as file:
            file.write(text)

    def check(self, *arguments: str) -> Result:
        return CliRunner().invoke(command.main, arguments)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    """A clone with one commit on main, and the check looking at it."""
    made = Clone(tmp_path)
    made.commit("first")
    monkeypatch.setattr(command, "PROJECT", made.folder)
    return made


def add_purpose(spec: dict[str, Any]) -> None:
    """`calls.started_at` may be used for one more thing."""
    (started,) = (field for field in spec["fields"] if field["name"] == "started_at")
    started["purposes"].append("personalisation")


def remove_purpose(spec: dict[str, Any]) -> None:
    (started,) = (field for field in spec["fields"] if field["name"] == "started_at")
    started["purposes"].remove("personalisation")


def keep_longer(spec: dict[str, Any]) -> None:
    spec["retention_days"] += 100


ADDED = "calls.started_at: purpose personalisation added"


def test_a_weaker_contract_fails_until_its_approval_is_added(clone: Clone) -> None:
    clone.git("tag", "v1.0.0")
    assert clone.check().output == "The contract, compared with v1.0.0: protects as much.\n"
    clone.edit(add_purpose)
    clone.edit(keep_longer)
    clone.commit("use and keep more")
    for arguments in ((), ("--against", "v1.0.0"), ("--against", clone.git("rev-parse", "v1.0.0"))):
        done = clone.check(*arguments)
        assert done.exit_code == 1
        assert (
            f"  {ADDED} (before: analytics, advertising; now: analytics, advertising, personalisation)" in done.output
        )
        assert (
            "  calls: retention lengthened from 400 days to 500 days (before: 400 days; now: 500 days)" in done.output
        )
    # What it prints is the entry to add: the two lines that only a person can fill in are empty.
    printed = done.output[done.output.index("- change") :]
    clone.approve(printed)
    refused = clone.check()
    assert refused.exit_code == 1 and refused.output.count("has an empty approved_by: give who answers for it") == 2
    filled = printed.replace("approved_by:", "approved_by: Bo").replace("reason:", "reason: Why.")
    (clone.folder / FILE).write_text(filled)
    done = clone.check()
    assert (done.exit_code, done.output) == (
        0,
        "The contract, compared with v1.0.0: weaker in 2 changes, approved.\n",
    )


def test_the_guide_s_example_is_what_the_check_prints(clone: Clone) -> None:
    """As far as the day goes, which is the reader's own."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    refused, approved = (text for kind, text in blocks if not kind)
    (filled_in,) = (text for kind, text in blocks if kind == "yaml")
    clone.git("tag", "v1.4.0")
    clone.edit(add_purpose)
    printed = re.sub(r"date: .*", "date: 2026-11-30", clone.check().output)
    assert printed and refused.endswith(f"follow the contract.\n{printed}")
    clone.approve(filled_in.replace("2026-11-30", "2026-01-15"))
    assert approved.endswith(f"follow the contract.\n{clone.check().output}")


def test_an_approval_is_of_one_change(clone: Clone) -> None:
    clone.git("tag", "v1.0.0")
    clone.edit(add_purpose)
    clone.edit(keep_longer)
    clone.approve(entry(change=ADDED))
    done = clone.check()
    assert done.exit_code == 1
    assert "retention lengthened" in done.output
    assert "purpose" not in done.output.split("Take it back")[0]


def test_an_approval_of_an_earlier_release_approves_nothing_later(clone: Clone) -> None:
    clone.git("tag", "v1.0.0")
    clone.edit(add_purpose)
    clone.approve(entry(change=ADDED))
    clone.commit("use for more")
    clone.git("tag", "v1.1.0")
    assert clone.check().output == "The contract, compared with v1.1.0: protects as much.\n"
    clone.edit(remove_purpose)
    clone.commit("use for less")
    clone.git("tag", "v1.2.0")
    clone.edit(add_purpose)
    assert clone.check().exit_code == 1
    # The day tells the two apart.
    clone.approve(entry(change=ADDED, date="2026-01-16"))
    assert clone.check().output == "The contract, compared with v1.2.0: weaker in 1 change, approved.\n"


def test_an_approval_that_approves_nothing_is_said_and_is_no_failure(clone: Clone) -> None:
    clone.git("tag", "v1.0.0")
    clone.approve(entry(change=ADDED))
    done = clone.check()
    assert done.exit_code == 0
    assert f"{FILE}:1: approves nothing: {ADDED}\n" in done.output
    clone.commit("approve")
    clone.git("tag", "v1.1.0")
    assert clone.check().output == "The contract, compared with v1.1.0: protects as much.\n"


def test_without_a_release_the_base_is_where_the_branch_left_main(clone: Clone) -> None:
    left = clone.git("rev-parse", "HEAD")
    clone.git("tag", "not-a-release")
    clone.git("checkout", "--quiet", "-b", "topic")
    clone.edit(add_purpose)
    clone.commit()
    done = clone.check()
    assert done.exit_code == 1
    assert f"protects less than at {left[:12]}, and nobody approved that" in done.output
    # What main protects better since then, the branch has not weakened.
    clone.git("checkout", "--quiet", "main")
    clone.edit(lambda spec: spec.update(retention_days=100))
    clone.commit()
    clone.git("checkout", "--quiet", "topic")
    assert "retention" not in clone.check().output


def test_where_there_is_nothing_to_compare_with_it_is_said_and_no_failure(clone: Clone) -> None:
    clone.git("checkout", "--quiet", "-b", "topic")
    clone.git("branch", "--quiet", "--delete", "--force", "main")
    clone.edit(add_purpose)
    done = clone.check()
    assert done.exit_code == 0
    assert "compared with no earlier one: git has no release (a tag v...) and no main branch here" in done.output
    assert "git fetch --tags --unshallow" in done.output


def test_outside_git_it_is_said_and_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PROJECT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    done = CliRunner().invoke(command.main)
    assert (done.exit_code, "not a git repository" in done.output) == (0, True)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(command.main)
    assert (done.exit_code, "git cannot be run" in done.output) == (0, True)
    assert CliRunner().invoke(command.main, ["--against", "HEAD"]).exit_code == 1


@pytest.mark.parametrize("revision", ["v9.0.0", "--since=2020", ""])
def test_a_base_that_is_named_and_not_there_is_a_failure(clone: Clone, revision: str) -> None:
    done = clone.check(f"--against={revision}")
    assert done.exit_code == 1
    assert f"git has no commit {revision!r} here" in done.output


def drop_contract(clone: Clone) -> None:
    clone.git("rm", "-r", "--quiet", "contracts")


def write_approvals(clone: Clone) -> None:
    clone.approve("- nobody\n")


def write_unknown_class(clone: Clone) -> None:
    clone.edit(lambda spec: spec["fields"][0].update(privacy="secret"))


def write_no_json(clone: Clone) -> None:
    (clone.folder / CALLS).write_text("{")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (drop_contract, "v1.0.0 has no contracts/generated/*.json"),
        (write_approvals, "the approvals of v1.0.0 cannot be read: contracts/approvals.yml:1: entry 1 is to have"),
        (write_unknown_class, f"{CALLS} of v1.0.0 cannot be compared: fields.0.privacy: "),
        (write_no_json, f"{CALLS} of v1.0.0 cannot be compared: "),
    ],
)
def test_a_contract_of_before_that_cannot_be_read_is_a_failure_where_it_is_asked_for(
    clone: Clone, damage: Callable[[Clone], None], words: str
) -> None:
    whole = clone.git("rev-parse", "HEAD")
    damage(clone)
    clone.commit("damage")
    clone.git("tag", "v1.0.0")
    clone.git("checkout", "--quiet", whole, "--", "contracts")
    (clone.folder / FILE).unlink(missing_ok=True)
    done = clone.check()
    assert (done.exit_code, words in done.output) == (0, True), done.output
    done = clone.check("--against", "v1.0.0")
    assert (done.exit_code, words in done.output) == (1, True), done.output


def test_a_contract_of_now_that_cannot_be_read_is_a_failure(clone: Clone) -> None:
    write_unknown_class(clone)
    done = clone.check()
    assert done.exit_code == 1
    assert f"{CALLS} cannot be compared: fields.0.privacy: " in done.output


def test_a_contract_of_another_version_of_tidemark_is_compared_by_what_both_know(clone: Clone) -> None:
    """What the older does not say is at its default; what only the other knows is left alone."""

    def older_and_newer(spec: dict[str, Any]) -> None:
        spec.pop("history")
        spec["watermark"] = "started_at"
        for field in spec["fields"]:
            field["unit"] = {"of": "time"}
            field["purposes"] = [*field["purposes"], "research"]

    clone.edit(older_and_newer)
    clone.commit()
    clone.git("tag", "v1.0.0")
    clone.git("checkout", "--quiet", "HEAD~1", "--", "contracts")
    assert clone.check("--against", "v1.0.0").output == "The contract, compared with v1.0.0: protects as much.\n"
    # And the other way: what is now has words that the base had not.
    clone.git("checkout", "--quiet", "v1.0.0", "--", "contracts")
    clone.git("tag", "--force", "v1.0.0", "HEAD~1")
    done = clone.check("--against", "v1.0.0")
    assert done.exit_code == 1 and done.output.count("purpose research added") == 12  # six fields, twice


def test_a_project_below_the_root_of_its_repository_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = Clone(tmp_path / "warehouse")
    (clone.folder / ".git").rename(tmp_path / ".git")
    clone.approve(entry())
    clone.commit()
    monkeypatch.setattr(command, "PROJECT", clone.folder)
    clone.edit(add_purpose)
    clone.approve(entry(change=ADDED, date="2026-01-16"))
    done = clone.check("--against", "HEAD")
    assert done.output == "The contract, compared with HEAD: weaker in 1 change, approved.\n"
