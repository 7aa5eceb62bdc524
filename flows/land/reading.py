"""Read a file of the inbox as rows of its dataset: as it is, or through the feed whose shape it has."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from flows.contract.spec import DatasetSpec
from flows.land.beside import BesideRows, names_in
from flows.land.feed_mapping import mapped
from flows.land.feeds import Feed, feed_beside, feed_of, texts_spec
from flows.land.inbox import Delivery, file_format
from flows.land.readers import Chunk, Part, columns_of, read_parts, schema_of


def parts_of(delivery: Delivery, spec: DatasetSpec, beside: BesideRows) -> Iterator[Part]:
    """The file's rows as its dataset's, in parts. Raises as :func:`flows.land.readers.read_parts` does."""
    parts = parts_as_delivered(delivery.path, delivery.name, spec)
    feed = feed_of(delivery.name)
    return mapped(parts, feed, spec, beside.of(feed, delivery.source)) if feed else parts


def parts_as_delivered(path: Path, name: str, spec: DatasetSpec) -> Iterator[Part]:
    """The rows of a file of this name in the inbox as they came, whatever they become, in parts."""
    feed, beside = feed_of(name), feed_beside(name)
    if beside and beside.beside:
        spec = texts_spec(beside.name, names_in(path, beside.beside))
    return read_parts(path, _spec_of_file(feed, path) if feed else spec)


def chunks_as_delivered(path: Path, name: str, spec: DatasetSpec) -> Iterator[Chunk]:
    """The same, decoded."""
    for part in parts_as_delivered(path, name, spec):
        yield part()


def columns_noted(delivery: Delivery, spec: DatasetSpec) -> str | None:
    """What a single row of the file does not say by itself, as :func:`flows.land.readers.columns_of` gives it."""
    feed = feed_of(delivery.name)
    return columns_of(delivery.path, _spec_of_file(feed, delivery.path) if feed else spec)


def _spec_of_file(feed: Feed, path: Path) -> DatasetSpec:
    """What a reader has to know of a file of a feed."""
    kind = file_format(path.name) or ""
    spec = feed.spec_of(kind)
    if kind == "parquet":
        schema: pa.Schema = schema_of(path)
        return feed.spec_of(kind, schema.names)
    if kind in ("csv", "tsv") and not spec.csv.headerless:
        either_case = feed.spec_of(kind, [name.upper() for name in feed.columns])
        return feed.spec_of(kind, json.loads(columns_of(path, either_case) or "[]"))
    return spec
