"""Small files land together exactly as each would land by itself."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows.contract.spec import load_specs
from flows.land.receipt import Receipt, Status
from tests.support.deliveries import VIEW, compressed, contents, csv_of, event, in_format, parquet
from tests.support.lake import Lake
from tests.support.rows import BAD, GOOD

FILES = 40
LINES = [(case.name, case.line) for case in (*GOOD, *BAD)]


def events_of(chance: random.Random) -> list[dict[str, Any]]:
    """Some events of a few days, and values that none of the other files may have."""
    rows = []
    for number in range(chance.randint(1, 25)):
        at = f"2026-01-{chance.randint(10, 14)}T{chance.randint(10, 23)}:15:04.123Z"
        changes: dict[str, Any] = {"occurred_at": at, "device_id": f"d-{chance.randint(0, 40)}"}
        if chance.random() < 0.05:
            changes |= {"platform": chance.choice(["fax", "", 5])}
        body = VIEW | {"content_id": f"c-{chance.randint(0, 99)}"}
        rows.append(event(chance.randint(0, 2**40) + number, body=body, **changes))
    return rows


def lines_of(chance: random.Random) -> bytes:
    """Lines of JSON as they come: most in order, some with anything wrong, blank ones and unknown keys among them."""
    lines = [json.dumps(row).encode() for row in events_of(chance)]
    if chance.random() < 0.4:
        lines += [line for _, line in chance.sample(LINES, 3)]
    if chance.random() < 0.3:
        lines += [b"", json.dumps(event(1, colour="red", body=VIEW | {"mood": {"a": [1]}})).encode(), b"   ", b"\r"]
    if chance.random() < 0.1:
        lines += [json.dumps(event(n, **{f"key {chance.random()}": n})).encode() for n in range(9)]
    chance.shuffle(lines)
    end = chance.choice([b"\n", b"\r\n"])
    mark = chance.choice([b"", b"", b"", b"\xef\xbb\xbf", b"\n\n"])
    return mark + end.join(lines) + chance.choice([end, end, b""])


def file_of(chance: random.Random) -> tuple[str, str, bytes]:
    """A delivery: its dataset, the ending of its name, and its bytes."""
    kind = chance.randint(0, 19)
    if kind < 8:
        packing = chance.choice(["", "", ".gz", ".zst"])
        return "events", f"ndjson{packing}", compressed(lines_of(chance), packing)
    if kind < 12:
        suffix = chance.choice(["pb", "pb.gz", "parquet", "csv", "csv.zst"])
        rows = [row for row in events_of(chance) if isinstance(row["platform"], str)]
        return "events", suffix, in_format(rows or [event()], suffix)
    if kind < 15:
        things = [(f"c-{n}", chance.choice(["article", "", "video"]), f"t{chance.random()}", "2026-01-15T00:00:00Z")
                  for n in range(5)]  # fmt: skip
        return "contents", "csv", contents(*things)
    adverts = [{"advert_id": f"a-{chance.randint(0, 9)}", "updated_at": "2026-01-15T00:00:00Z"} for _ in range(3)]
    odd: list[tuple[str, str, bytes]] = [
        ("adverts", "parquet", parquet(adverts, load_specs()["adverts"])),
        ("adverts", "csv", csv_of(adverts, load_specs()["adverts"]).replace(b"advert_id", b"advert_id,colour", 1)),
        ("events", "json", b"[" + b",\n".join(json.dumps(row).encode() for row in events_of(chance)) + b"]"),
        ("events", "json", b" [ ] "),
        ("events", "ndjson.gz", compressed(lines_of(chance), ".gz")[:-9]),
        ("events", "ndjson", chance.choice([b"", b" \n\n", compressed(b"{}", ".gz"), b"hello\n", b"[{]"])),
        ("events", "pb", b"\xff" * chance.randint(1, 9)),
    ]
    return chance.choice(odd)


def deliveries_of(chance: random.Random) -> list[tuple[str, bytes]]:
    """Files in order of name, of datasets in turn, some with the bytes of an earlier one."""
    made: list[tuple[str, str, bytes]] = []
    for _ in range(FILES):
        made.append(chance.choice(made) if made and chance.random() < 0.15 else file_of(chance))
    names = (f"s{n // 14}/{dataset}/{n:03}.{suffix}" for n, (dataset, suffix, _) in enumerate(made))
    return sorted(zip(names, (data for _, _, data in made), strict=True))


def said(receipt: Receipt) -> dict[str, Any]:
    """All that a receipt says but times, and how many bytes Parquet took for the rows."""
    text = receipt.model_dump(exclude={"delivered_at", "landed_at"})
    return text | {"files": [file | {"bytes": 0} for file in text["files"]]}


def held(lake: Lake) -> dict[str, list[Any]]:
    """Everything that the lake holds."""
    of_datasets: dict[str, list[Any]] = {"receipts": [said(receipt) for receipt in lake.receipts()]}
    for dataset in load_specs():
        unknown = [json.dumps(row, sort_keys=True) for row in lake.unknown(dataset)]
        of_datasets |= {
            f"{dataset} rows": lake.rows(dataset),
            f"{dataset} rejects": lake.rejects(dataset),
            f"{dataset} unknown": sorted(unknown),
        }
    return of_datasets


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
def test_small_files_land_together_as_each_lands_by_itself(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    together, alone = Lake(tmp_path / "together"), Lake(tmp_path / "alone")
    first = deliveries_of(chance)
    # Half of the names come again, with bytes that may have landed under another name.
    again = sorted((name, chance.choice([data, *(d for n, d in first if n.split(".")[1:] == name.split(".")[1:])]))
                   for name, data in chance.sample(first, FILES // 2))  # fmt: skip
    statuses: Counter[Status] = Counter()
    for deliveries in (first, again):
        shown: list[str] = []
        for name, data in deliveries:
            alone.deliver(name, data)
            shown += alone.land().examples
        for name, data in deliveries:
            together.deliver(name, data)
        done = together.land()
        assert [receipt.file for receipt in done.receipts] == sorted(receipt.file for receipt in done.receipts)
        assert done.examples == shown
        statuses.update(receipt.status for receipt in done.receipts)
    assert held(together) == held(alone)
    assert min(statuses[status] for status in Status if status is not Status.REMOVED) > 0
    together.assert_whole()
    assert together.land().receipts == []
