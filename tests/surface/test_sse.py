"""Event streams: everybody hears everything, and nobody slow holds the speaker up."""

from threading import Thread

import pytest

from fortress.http.sse import KEPT, WAITING, Broadcast, Reader, TooManyReadersError


def begun(stream: Reader) -> Reader:
    assert next(stream) == b"retry: 2000\n\n"
    return stream


def test_every_reader_hears_what_is_said_in_order() -> None:
    said = Broadcast()
    readers = [begun(said.listen()) for _ in range(3)]
    said.publish("alert", b'{"a":1}\n')
    said.publish("score", b'{"b":2}\n')
    wanted = b'id: 1\nevent: alert\ndata: {"a":1}\n\nid: 2\nevent: score\ndata: {"b":2}\n\n'
    assert [next(reader) for reader in readers] == [wanted] * 3


def test_silence_is_broken_by_a_comment() -> None:
    reader = begun(Broadcast(heartbeat_s=0.01).listen())
    assert next(reader) == b":\n\n"


def test_a_slow_reader_loses_the_oldest_is_told_and_stops_nobody() -> None:
    said = Broadcast()
    reader = begun(said.listen(after=0))
    for number in range(WAITING + 10):
        said.publish("score", b"%d" % number)
    assert said.lost == 10
    heard = next(reader)
    assert heard.startswith(b'event: lost\ndata: {"events":10}\n\nid: 11\n')
    assert heard.count(b"\n\n") == 1 + WAITING


def test_who_comes_back_is_given_what_was_missed() -> None:
    said = Broadcast()
    for number in range(5):
        said.publish("score", b"%d" % number)
    assert next(begun(said.listen(after=3))).startswith(b"id: 4\n")
    for number in range(KEPT + 5):
        said.publish("score", b"%d" % number)
    reader = begun(said.listen(after=3))
    heard = next(reader)
    assert heard.startswith(b'event: lost\ndata: {"events":%d}\n\n' % (5 + 5 - 3))
    assert heard.count(b"\n\n") == 1 + KEPT


def test_the_number_of_readers_is_bounded_and_a_place_is_given_back() -> None:
    said = Broadcast(readers=2)
    first, _second = said.listen(), said.listen()
    with pytest.raises(TooManyReadersError):
        said.listen()
    first.close()  # a HEAD request closes what it never read
    said.listen()


def test_closing_ends_every_stream() -> None:
    said = Broadcast()
    heard: list[bytes] = []
    reader = begun(said.listen())
    thread = Thread(target=lambda: heard.extend(reader))
    thread.start()
    said.close()
    thread.join(10)
    assert not thread.is_alive()
    with pytest.raises(TooManyReadersError):
        said.listen()
