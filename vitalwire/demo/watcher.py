"""Observes the running system: windows, quarantine and late readings from Kafka, and the ledger's counts."""

from __future__ import annotations

from threading import Event, Thread

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from pydantic import ValidationError

from schemas.errors import RetryLater
from schemas.ports.ledger import Ledger
from schemas.reading import QuarantineRecord
from schemas.topics import LATE_READINGS, QUARANTINE, WINDOWS
from schemas.window import Window
from vitalwire.demo.board import Board

METADATA_S = 10.0
POLL_S = 0.2
LEDGER_S = 0.5


class Watcher:
    """Two threads that feed the board until stopped."""

    def __init__(self, bootstrap_servers: str, prefix: str, ledger: Ledger, board: Board) -> None:
        self._prefix = prefix
        self._ledger = ledger
        self._board = board
        self._stop = Event()
        self.unreadable = 0
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "vitalwire-demo-watcher",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        self._threads = [Thread(target=t, name="watcher", daemon=True) for t in (self._follow, self._ask)]

    def start(self) -> None:
        """Start both threads, from the beginning of every topic."""
        places = []
        for topic in (WINDOWS, QUARANTINE, LATE_READINGS):
            name = topic.prefixed(self._prefix)
            partitions = self._consumer.list_topics(name, METADATA_S).topics[name].partitions
            places += [TopicPartition(name, number, OFFSET_BEGINNING) for number in partitions]
        self._consumer.assign(places)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop both threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._consumer.close()

    def _follow(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(500, POLL_S):
                if message.error() is None:
                    self._note(str(message.topic()), message.value() or b"")

    def _note(self, topic: str, value: bytes) -> None:
        try:
            if topic == WINDOWS.prefixed(self._prefix):
                self._board.window(Window.model_validate_json(value))
            else:
                self._board.quarantined(QuarantineRecord.model_validate_json(value))
        except ValidationError:
            self.unreadable += 1

    def _ask(self) -> None:
        while not self._stop.wait(LEDGER_S):
            try:
                self._board.ledger(self._ledger.states())
            except RetryLater:
                continue
