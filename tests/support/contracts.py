"""The contract with something changed."""

from collections.abc import Callable
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from flows.contract.spec import (
    DESCRIPTORS,
)

Change = Callable[[Any, Any], None]


def changed(field: str, change: Change, message: str = "Event", file: str = "events") -> bytes:
    """The contract with one field changed: ``change`` gets the field's descriptor and its Tidemark option."""
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for f in files.file:
        pool.Add(f)
    extension = pool.FindExtensionByName("tidemark.options.v1.field")
    options_class = message_factory.GetMessageClass(extension.containing_type)
    (proto,) = (f for f in files.file if f.package == f"tidemark.{file}.v1")
    (owner,) = (m for m in proto.message_type if m.name == message)
    (found,) = (f for f in owner.field if f.name == field)
    options = options_class.FromString(found.options.SerializeToString())
    index = found.oneof_index if found.HasField("oneof_index") else None
    change(found, options.Extensions[extension])
    found.options.ParseFromString(options.SerializeToString())
    # No longer optional: what Protobuf made for that goes too.
    if index is not None and not found.HasField("oneof_index"):
        del owner.oneof_decl[index]
        for other in owner.field:
            if other.HasField("oneof_index") and other.oneof_index > index:
                other.oneof_index -= 1
    return files.SerializeToString()
