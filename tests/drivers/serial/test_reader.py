"""Places in what was received: in order, without loss, or with what is lost counted."""

from __future__ import annotations

from labnode.drivers.serial.buffer import ReceiveBuffer, SendQueue

from .conftest import Cable, Make, Thread


def test_a_receive_buffer_keeps_the_last_bytes_at_their_offsets() -> None:
    received = ReceiveBuffer(5)
    received.write(b"abc")
    assert (received.start, received.end, received.read(0, 10)) == (0, 3, (0, b"abc"))
    received.write(b"defg")
    assert (received.start, received.end, received.read(0, 10)) == (2, 7, (2, b"cdefg"))
    assert received.read(4, 2) == (4, b"ef")
    assert received.read(7, 2) == (7, b"")


def test_a_piece_larger_than_the_buffer_leaves_its_end() -> None:
    received = ReceiveBuffer(3)
    received.write(b"abcdefg")
    assert received.read(0, 10) == (4, b"efg")


def test_a_cleared_buffer_goes_on_at_its_offset() -> None:
    received = ReceiveBuffer(5)
    received.write(b"abc")
    received.clear()
    received.write(b"d")
    assert received.read(0, 10) == (3, b"d")


def test_a_reader_gets_every_byte_once(make: Make, cable: Cable, thread: Thread) -> None:
    console = make()
    reader = console.line.reader()
    assert not reader.waiting()
    cable.say(b"hello")
    thread.until(lambda: console.line.received.end == 5)
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
    thread.until(lambda: console.line.received.end == 6)
    console.reset()
    reader = console.line.reader(epoch, 0)
    assert (reader.offset, reader.skip_gap(), reader.read(100)) == (6, 0, b"")


def test_a_reader_that_is_too_slow_is_told_how_much_it_missed(
    make: Make, cable: Cable, thread: Thread
) -> None:
    console = make()
    reader = console.line.reader()
    console.line.received.write(bytes(1 << 20) + b"the rest")
    assert reader.read(8) == b""  # a gap is not passed over in silence
    assert reader.skip_gap() == len(b"the rest")
    assert reader.read(8) == bytes(8)
    assert reader.skip_gap() == 0
    assert console.counters()["dropped_bytes"] == len(b"the rest")


def test_a_reader_with_a_rate_gets_no_more_and_is_told_when_there_is_more(
    make: Make, cable: Cable, thread: Thread
) -> None:
    console = make(max_rate=2_000_000)
    console.line.received.write(bytes(1_000_000))
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
    queue, told = SendQueue(), []
    queue.put(b"abcd", lambda number: told.append(("first", number)))
    queue.put(b"ef", lambda number: told.append(("second", number)))
    written = bytearray()

    def take_three(data: memoryview) -> int:
        written.extend(data[:3])
        return min(3, len(data))

    while queue:
        queue.write(take_three)
    assert bytes(written) == b"abcdef"
    assert told == [("first", 3), ("first", 1), ("second", 2)]


def test_what_is_thrown_away_is_told_too() -> None:
    queue, told = SendQueue(), []
    queue.put(b"abcd", told.append)
    queue.write(lambda data: 1)
    assert queue.clear()
    assert not queue.clear()
    assert told == [1, 0]
    assert queue.write(len) == 0
