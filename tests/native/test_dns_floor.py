"""The floor that the bench compares DNS servers with is an echo, and nothing less."""

import socket
import subprocess

import dns.flags
import dns.message

from bench.build import compiled

MESSAGES = 300  # more than four batches


def test_the_floor_answers_every_query_with_itself_and_counts_them() -> None:
    words = [compiled("dns_floor"), "0", str(MESSAGES)]
    with (
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as floor,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker,
    ):
        assert floor.stdout is not None
        asker.connect(("127.0.0.1", int(floor.stdout.readline())))
        asker.settimeout(10)
        for first in range(0, MESSAGES, 100):
            sent = {}
            for number in range(first, first + 100):
                query = dns.message.make_query(f"n{number}.example", "A", id=number)
                sent[number] = query
                asker.send(query.to_wire())
            for _ in range(100):
                answer = dns.message.from_wire(asker.recv(1500))
                assert answer.flags & dns.flags.QR
                assert sent.pop(answer.id).question == answer.question
            assert not sent
        done, batches, _ = floor.stdout.read().split()
        assert floor.wait() == 0
    assert int(done) == MESSAGES
    assert MESSAGES / 64 <= int(batches) <= MESSAGES
