"""The contract with something changed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from flows.contract.spec import DESCRIPTORS, DatasetSpec, load_specs

Change = Callable[[Any, Any], None]


def changed(field: str, change: Change, message: str = "Event", file: str = "events") -> bytes:
    """The contract with one field changed: ``change`` gets the field's descriptor and its Tidemark option."""
    files, owner = _read(message, file)
    (found,) = (f for f in owner.field if f.name == field)
    index = found.oneof_index if found.HasField("oneof_index") else None
    with _option(files, found, "tidemark.options.v1.field") as option:
        change(found, option)
    # No longer optional: what Protobuf made for that goes too.
    if index is not None and not found.HasField("oneof_index"):
        del owner.oneof_decl[index]
        for other in owner.field:
            if other.HasField("oneof_index") and other.oneof_index > index:
                other.oneof_index -= 1
    return files.SerializeToString()


def changed_dataset(change: Callable[[Any], None], message: str, file: str) -> bytes:
    """The contract with one dataset changed: ``change`` gets its Tidemark option."""
    files, owner = _read(message, file)
    with _option(files, owner, "tidemark.options.v1.dataset") as option:
        change(option)
    return files.SerializeToString()


def changed_spec(spec: DatasetSpec, name: str, **changes: Any) -> DatasetSpec:
    """A dataset's spec with one field's rules changed."""
    fields = tuple(f.model_copy(update=changes) if f.name == name else f for f in spec.fields)
    assert fields != spec.fields
    return spec.model_copy(update={"fields": fields})


def strict_events() -> dict[str, DatasetSpec]:
    """A contract that has not heard of television yet."""
    return {"events": changed_spec(load_specs()["events"], "platform", accepted_values=("web", "ios", "android"))}


def _read(message: str, file: str) -> tuple[descriptor_pb2.FileDescriptorSet, Any]:
    """The committed contract, and a message of it."""
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    (proto,) = (f for f in files.file if f.package == f"tidemark.{file}.v1")
    (owner,) = (m for m in proto.message_type if m.name == message)
    return files, owner


@contextmanager
def _option(files: descriptor_pb2.FileDescriptorSet, owner: Any, name: str) -> Iterator[Any]:
    """A custom option of a message or field, written back as it was left. Only a pool's own classes can parse it."""
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    extension = pool.FindExtensionByName(name)
    options = message_factory.GetMessageClass(extension.containing_type).FromString(owner.options.SerializeToString())
    yield options.Extensions[extension]
    owner.options.ParseFromString(options.SerializeToString())
