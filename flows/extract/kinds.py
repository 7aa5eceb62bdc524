"""The kinds of sources that can be read: which model checks the declaration of each."""

from collections.abc import Mapping

from flows.extract.api.declared import ApiSource
from flows.extract.databases.declared import DatabaseSource, MySqlSource
from flows.extract.kafka.declared import KafkaSource
from flows.extract.object_store.declared import ObjectStoreSource
from flows.extract.source import Source

KINDS: Mapping[str, type[Source]] = {
    "api": ApiSource,
    "kafka": KafkaSource,
    "mysql": MySqlSource,
    "postgres": DatabaseSource,
    "s3": ObjectStoreSource,
}
