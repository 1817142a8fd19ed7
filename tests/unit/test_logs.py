import logging

from vitalwire.logs import REPEATED_AFTER_S, SeldomRepeated


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def written(quiet: SeldomRepeated, name: str, said: str, *about: object) -> bool:
    return bool(quiet.filter(logging.LogRecord(name, logging.ERROR, "file.py", 1, said, about, None)))


def test_a_library_that_repeats_itself_is_heard_once_in_a_while():
    clock = Clock()
    quiet = SeldomRepeated("aiokafka", clock)

    assert written(quiet, "aiokafka", "Unable connect to %s", "a:9092")
    assert not written(quiet, "aiokafka", "Unable connect to %s", "b:9092")
    clock.now_s += REPEATED_AFTER_S
    assert written(quiet, "aiokafka", "Unable connect to %s", "a:9092")


def test_another_message_and_another_part_of_the_library_are_heard_at_once():
    quiet = SeldomRepeated("aiokafka", Clock())

    assert written(quiet, "aiokafka.client", "Unable connect")
    assert written(quiet, "aiokafka.client", "Unable to update metadata")
    assert written(quiet, "aiokafka.conn", "Unable connect")


def test_everybody_else_may_repeat_what_they_say():
    quiet = SeldomRepeated("aiokafka", Clock())

    assert all(written(quiet, "streams.runtime.fail_fast", "exiting: %s", "why") for _ in range(3))
    assert all(written(quiet, "aiokafkas", "no such library") for _ in range(3))
