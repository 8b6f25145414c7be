"""Places on the tape: in order, without loss, or with what is lost counted."""

from __future__ import annotations

from labnode.drivers.serial.buffer import Tape
from labnode.drivers.serial.line import Outbox

from .conftest import Cable, Make, Thread


def test_a_tape_keeps_the_last_bytes_at_their_offsets() -> None:
    tape = Tape(5)
    tape.write(b"abc")
    assert (tape.start, tape.end, tape.read(0, 10)) == (0, 3, (0, b"abc"))
    tape.write(b"defg")
    assert (tape.start, tape.end, tape.read(0, 10)) == (2, 7, (2, b"cdefg"))
    assert tape.read(4, 2) == (4, b"ef")
    assert tape.read(7, 2) == (7, b"")


def test_a_piece_larger_than_the_tape_leaves_its_end() -> None:
    tape = Tape(3)
    tape.write(b"abcdefg")
    assert tape.read(0, 10) == (4, b"efg")


def test_a_forgotten_tape_goes_on_at_its_offset() -> None:
    tape = Tape(5)
    tape.write(b"abc")
    tape.forget()
    tape.write(b"d")
    assert tape.read(0, 10) == (3, b"d")


def test_a_reader_gets_every_byte_once(make: Make, cable: Cable, thread: Thread) -> None:
    console = make()
    reader = console.line.reader()
    assert not reader.waiting()
    cable.say(b"hello")
    thread.until(lambda: console.line.tape.end == 5)
    assert reader.waiting()
    assert [reader.read(2), reader.read(2), reader.read(2), reader.read(2)] == [
        b"he", b"ll", b"o", b"",
    ]  # fmt: skip


def test_a_place_of_the_last_student_is_none_for_the_next(
    make: Make, cable: Cable, thread: Thread
) -> None:
    console = make()
    epoch = console.line.epoch
    cable.say(b"secret")
    thread.until(lambda: console.line.tape.end == 6)
    console.reset()
    reader = console.line.reader(epoch, 0)
    assert (reader.offset, reader.skip_gap(), reader.read(100)) == (6, 0, b"")


def test_a_reader_that_is_too_slow_is_told_how_much_it_missed(
    make: Make, cable: Cable, thread: Thread
) -> None:
    console = make()
    reader = console.line.reader()
    console.line.tape.write(bytes(1 << 20) + b"the rest")
    assert reader.read(8) == b""  # a gap is not passed over in silence
    assert reader.skip_gap() == len(b"the rest")
    assert reader.read(8) == bytes(8)
    assert reader.skip_gap() == 0
    assert console.counters()["dropped_bytes"] == len(b"the rest")


def test_a_reader_with_a_rate_gets_no_more_and_is_told_when_there_is_more(
    make: Make, cable: Cable, thread: Thread
) -> None:
    console = make(max_rate=2_000_000)
    console.line.tape.write(bytes(1_000_000))
    reader = console.line.reader(console.line.epoch, 0)
    told: list[float] = []
    begun = thread.clock.now()
    console.line.listen(lambda: told.append(0))
    first = len(reader.read(1 << 20))
    assert first <= 500_000
    rest = 1_000_000 - first
    while rest:
        thread.until(reader.waiting)
        rest -= len(reader.read(1 << 20))
    assert thread.clock.now() - begun >= 0.2
    assert told
    assert reader.skip_gap() == 0


def test_what_is_queued_is_written_in_order_and_whoever_gave_it_is_told() -> None:
    outbox, told = Outbox(), []
    outbox.put(b"abcd", lambda number: told.append(("first", number)))
    outbox.put(b"ef", lambda number: told.append(("second", number)))
    written = bytearray()

    def take_three(data: memoryview) -> int:
        written.extend(data[:3])
        return min(3, len(data))

    while outbox:
        outbox.write(take_three)
    assert bytes(written) == b"abcdef"
    assert told == [("first", 3), ("first", 1), ("second", 2)]


def test_what_is_thrown_away_is_told_too() -> None:
    outbox, told = Outbox(), []
    outbox.put(b"abcd", told.append)
    outbox.write(lambda data: 1)
    assert outbox.clear()
    assert not outbox.clear()
    assert told == [1, 0]
    assert outbox.write(len) == 0
