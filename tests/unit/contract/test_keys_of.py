"""Datasets that list the keys of another: what they have to have in common, and what is made of it."""

import click
import pytest
from google.protobuf import descriptor_pb2

from flows.contract.generate import generate
from flows.contract.spec import DESCRIPTORS, PROJECT, load_specs


def with_keys(message: str, old: bytes, new: bytes) -> bytes:
    """The contract with something of the option or the fields of a message of lists replaced, as long as it was."""
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes())
    (keys,) = (file for file in files.file if file.package == "tidemark.keys.v1")
    (found,) = (each for each in keys.message_type if each.name == message)
    replaced = found.SerializeToString().replace(old, new)
    assert replaced != found.SerializeToString()
    found.ParseFromString(replaced)
    return files.SerializeToString()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"adverts", b"advertz", "keys_of names 'advertz', which is no dataset with a history"),
        (b"adverts", b"content", "keys_of names 'content', which is no dataset with a history"),
        (b"advert_id", b"advert_no", "lists keys of adverts: it is to have its key advert_id, alike, alone"),
    ],
)
def test_a_list_of_keys_is_of_a_dataset_with_a_history_and_has_its_key(old: bytes, new: bytes, said: str) -> None:
    with pytest.raises(click.ClickException, match=rf"AdvertKey: {said}"):
        generate(with_keys("AdvertKey", old, new), PROJECT)


def test_each_dataset_with_a_list_has_a_model_of_what_was_deleted() -> None:
    made = generate(DESCRIPTORS.read_bytes(), PROJECT)
    files = {path.name: content.decode() for path, content in made.items() if path.suffix == ".sql"}
    specs = load_specs()
    lists = {spec.keys_of: spec.name for spec in specs.values() if spec.keys_of}
    assert set(lists) == {"accounts", "adverts", "contents"}
    for spec in specs.values():
        if spec.history is None:
            continue
        deleted = files.get(f"int_{spec.history.domain}__{spec.name}_deleted.sql")
        touched = files[f"int_{spec.history.domain}__{spec.name}_touched.sql"]
        assert (deleted is not None) == (spec.name in lists) == ("int_lake__lists_compared" in touched)
