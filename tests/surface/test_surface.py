"""The agent's API: what it shows, whom it lets change something, and what it refuses."""

import json
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fortress.errors import OutputError
from fortress.events import event
from fortress.http.access import Rules
from fortress.http.sse import READERS
from fortress.http.tokens import FAILURES
from fortress.services.agent.board import Board
from fortress.services.agent.surface import make_app, surface
from fortress.services.agent.view import Totals
from tests.surface.asking import ask, connection
from tests.surface.world import (
    BLOCK,
    NOW_NS,
    Served,
    finding,
    free_address,
    score,
    served,
    settings,
    snapshot,
)

NOBODY = 65534
READ = ("/health", "/status", "/score", "/history", "/findings", "/blocks", "/metrics")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Served]:
    """An agent that has told something."""
    with served(tmp_path) as one:
        one.board.publish(snapshot(), score(), (BLOCK,))
        one.board.apply(event(finding(1)))
        yield one


def bearer(token: str) -> str:
    return f"Bearer {token}"


@pytest.mark.parametrize("path", READ)
def test_both_sockets_show_the_same(agent: Served, path: str) -> None:
    over_tcp, over_unix = ask(agent.tcp, path), ask(agent.unix, path)
    assert over_tcp.status == over_unix.status == 200
    assert over_tcp.headers["content-type"] == over_unix.headers["content-type"]
    assert over_tcp.headers["cache-control"] == "no-store"
    if path not in ("/health", "/status"):  # they tell the uptime
        assert over_tcp.body == over_unix.body


def test_the_page_about_the_agent_tells_every_path(tmp_path: Path, root: Path) -> None:
    board = Board("1")
    rules = Rules(token="x" * 43, hosts=frozenset())
    app = make_app(board, board.events, None, rules)
    paths = {
        f"`{method} {rule.rule}`"
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method in ("GET", "POST")
    }
    told = re.findall(r"^\| (`[A-Z]+ /[^`]*`)", (root / "docs/agent.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(paths)


def test_before_the_first_tick_there_is_no_number(tmp_path: Path) -> None:
    with served(tmp_path) as agent:
        assert ask(agent.tcp, "/health").json["state"] == "starting"
        assert ask(agent.tcp, "/score").json["score"] is None
        assert ask(agent.tcp, "/status").json["sensors"] == []
        assert ask(agent.tcp, "/history").json["rows"] == []


def test_status_names_each_sensor_and_every_drop(agent: Served) -> None:
    told = ask(agent.tcp, "/status").json
    assert [(s["name"], s["state"]) for s in told["sensors"]] == [
        ("eth1", "live"),
        ("eth2", "stale"),
        ("energy", "missing"),
    ]
    assert told["sensors"][1]["reason"] == "the link is down"
    assert told["drops"] == {
        "kernel_drops": 7,
        "rows_lost": 1,
        "packets_shed": 0,
        "flows_evicted": 0,
        "archive_lost": 5,
        "events_lost": 0,
    }
    assert told["archive"]["bytes"] == 4096
    assert told["energy"]["source"] == "estimate"
    assert told["totals"] == {"packets": 100, "bytes": 10000, "flows": 0}
    assert told["pid"] == os.getpid()


def test_the_score_is_told_as_in_the_events(agent: Served) -> None:
    told = ask(agent.tcp, "/score").json
    assert told == json.loads(event(score()).line)


def test_findings_come_newest_first(agent: Served) -> None:
    for number in range(2, 6):
        agent.board.apply(event(finding(number)))
    told = ask(agent.tcp, "/findings?limit=2").json["findings"]
    assert [one["alert"]["host"] for one in told] == ["192.0.2.5", "192.0.2.4"]


def test_blocks_say_whether_they_stand(agent: Served) -> None:
    assert ask(agent.tcp, "/blocks").json["blocks"][0]["state"] == "proposed"


def test_history_has_seconds_and_minutes_with_the_worst_of_each(agent: Served) -> None:
    for tick in range(1, 30):
        at, worst = tick / 10, 0.9 if tick == 15 else 0.1
        agent.board.publish(snapshot(at, 100 + tick, 7), score(at, worst))
    seconds = ask(agent.tcp, "/history?since=0").json["rows"]
    assert [row["value"] for row in seconds] == [0.5, 0.9, 0.1]
    assert [row["packets"] for row in seconds] == [109, 10, 10]
    minute = ask(agent.tcp, "/history?since=0&step=60").json["rows"]
    assert [(row["value"], row["packets"], row["drops"]) for row in minute] == [(0.9, 129, 8)]
    later = ask(agent.tcp, f"/history?since={NOW_NS // 10**9 + 2}").json["rows"]
    assert [row["time_ns"] for row in later] == [NOW_NS + 2_000_000_000]


def test_metrics_are_brought_up_to_the_last_snapshot(agent: Served) -> None:
    def total() -> dict[str, float]:
        lines = ask(agent.tcp, "/metrics").body.decode().splitlines()
        return {k: float(v) for k, _, v in (x.rpartition(" ") for x in lines if x[0] != "#")}

    before = total()
    agent.board.publish(replace(snapshot(), totals=Totals(packets=150, kernel_drops=9)), score())
    after = total()
    assert after["fortress_capture_packets_total"] - before["fortress_capture_packets_total"] == 50
    assert after["fortress_capture_drops_total"] - before["fortress_capture_drops_total"] == 2
    assert after['fortress_sensor_live{sensor="eth1"}'] == 1
    assert after['fortress_sensor_live{sensor="eth2"}'] == 0
    assert after['fortress_respond_blocks{state="proposed"}'] == 1
    assert after["fortress_capture_sampled_ratio"] == 0.5
    assert after["fortress_archive_bytes"] == 4096
    assert after['fortress_energy_watts{domain="machine",source="estimate"}'] == 4.5
    assert after['fortress_energy_joules_total{source="estimate"}'] >= 90
    assert after['fortress_energy_joules_per_million_packets{source="estimate"}'] == 3.0
    agent.board.publish(replace(snapshot(), energy=None, sensors=()), score())
    assert not any("watts{" in name or "sensor_live{" in name for name in total())


def test_a_loop_that_stands_still_is_unhealthy(tmp_path: Path) -> None:
    now = [0.0]
    board = Board("1", lambda: now[0])
    board.publish(snapshot(), score())
    assert board.health().ok
    now[0] = 11
    assert not board.health().ok
    listen = free_address()
    with surface(board, board.events, None, settings(tmp_path, listen)):
        told = ask(listen, "/health")
    assert told.status == 503
    assert told.json["reason"] == "the loop has said nothing for 11 s"
    board.rest(snapshot(), "the replay is over")
    assert board.health().ok


def test_who_changes_something_over_tcp_needs_the_token(agent: Served) -> None:
    assert ask(agent.tcp, "/reload", "POST").status == 401
    refused = ask(agent.tcp, "/reload", "POST", Authorization=bearer("wrong"))
    assert refused.status == 401
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert refused.json["detail"].startswith("the token is wrong")
    assert agent.asked.said == []
    done = ask(agent.tcp, "/reload", "POST", Authorization=bearer(agent.token))
    assert (done.status, done.json) == (200, {"done": True, "message": "read again"})
    assert agent.asked.said == ["reload"]


def test_a_block_is_confirmed_by_name(agent: Served) -> None:
    body = {"target": "192.0.2.1"}
    headers = {"Authorization": bearer(agent.token)}
    assert ask(agent.tcp, "/blocks/confirm", "POST", body, **headers).status == 200
    assert agent.asked.said == ["confirm 192.0.2.1"]
    refused = ask(agent.tcp, "/blocks/confirm", "POST", {"target": "192.0.2.99"}, **headers)
    assert refused.status == 409
    assert refused.json["detail"] == "192.0.2.99: no block is proposed for it"


def test_our_own_user_needs_no_token_on_the_unix_socket(agent: Served) -> None:
    assert ask(agent.unix, "/reload", "POST").status == 200
    assert agent.asked.said == ["reload"]


ASK_AS = """
import os, sys
from pathlib import Path
uid, groups = int(sys.argv[2]), [int(g) for g in sys.argv[3:]]
os.setgroups(groups); os.setgid(uid); os.setuid(uid)
from tests.surface.asking import ask
print(ask(Path(sys.argv[1]), "/status").status, ask(Path(sys.argv[1]), "/reload", "POST").status)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: asks as other users")
@pytest.mark.parametrize(
    ("groups", "wanted"), [((), "200 401"), ((4,), "200 200"), ((5,), "200 401")]
)
def test_another_user_needs_the_control_group_or_the_token(
    root: Path, groups: tuple[int, ...], wanted: str
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,  # pytest's own are closed to others
        served(Path(folder), group="adm") as agent,  # Debian's group 4
    ):
        Path(folder).chmod(0o755)
        os.chmod(agent.unix, 0o666)  # noqa: PTH101 - who may connect is not the question here
        command = [sys.executable, "-c", ASK_AS, str(agent.unix), str(NOBODY), *map(str, groups)]
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout.strip() == wanted, done.stderr
        assert len(agent.asked.said) == (wanted == "200 200")


@pytest.mark.parametrize("group", ["", "adm"])
def test_the_unix_socket_is_for_its_owner_and_group_only(tmp_path: Path, group: str) -> None:
    with served(tmp_path, group=group) as agent:
        found = agent.unix.stat()
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert found.st_gid == (4 if group and os.geteuid() == 0 else os.getegid())
    assert not agent.unix.exists()


def test_wrong_tokens_are_slowed_down_and_the_unix_socket_stays_open(agent: Served) -> None:
    for _ in range(FAILURES):
        assert ask(agent.tcp, "/reload", "POST", Authorization=bearer("guess")).status == 401
    limited = ask(agent.tcp, "/reload", "POST", Authorization=bearer("guess"))
    assert limited.status == 429
    assert int(limited.headers["retry-after"]) > 0
    assert ask(agent.tcp, "/reload", "POST", Authorization=bearer(agent.token)).status == 429
    assert ask(agent.unix, "/reload", "POST").status == 200
    assert ask(agent.tcp, "/score").status == 200
    assert "fortress_http_wrong_tokens_total" in ask(agent.unix, "/metrics").body.decode()


def test_a_name_that_was_pointed_at_us_is_refused(agent: Served) -> None:
    port = agent.tcp.rpartition(":")[2]
    for host in ("evil.example", f"evil.example:{port}", "", "127.0.0.1.evil.example", "[::2]"):
        refused = ask(agent.tcp, "/findings", Host=host)
        assert refused.status == 421, host
        assert refused.headers["content-type"] == "application/problem+json"
    for host in (agent.tcp, f"localhost:{port}", "LOCALHOST", f"[::1]:{port}"):
        assert ask(agent.tcp, "/findings", Host=host).status == 200, host


def test_a_name_may_be_allowed(tmp_path: Path) -> None:
    with served(tmp_path, hosts=("agent",)) as agent:
        assert ask(agent.tcp, "/score", Host="agent:9090").status == 200


def test_from_other_machines_even_reading_needs_the_token(tmp_path: Path) -> None:
    listen = free_address("0.0.0.0")
    with served(tmp_path, listen) as agent:
        tcp = listen.replace("0.0.0.0", "127.0.0.1")
        assert ask(tcp, "/findings").status == 401
        assert ask(tcp, "/health").status == 200
        assert ask(tcp, "/findings", Authorization=bearer(agent.token)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("DELETE", "/score", 405),
        ("GET", "/history?step=7", 400),
        ("GET", "/history?since=soon", 400),
        ("GET", "/findings?limit=0", 400),
        ("GET", "/findings?limit=" + "9" * 500, 400),
        ("POST", "/blocks/confirm", 415),
    ],
)
def test_what_makes_no_sense_is_a_problem_with_its_reason(
    agent: Served, method: str, path: str, status: int
) -> None:
    refused = ask(agent.unix, path, method)
    assert refused.status == status
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json["status"] == status
    assert refused.json["detail"]


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"target": 5}', b'{"target": ""}', b'{"target": "%s"}' % (b"x" * 65)]
)
def test_a_body_that_makes_no_sense_is_refused(agent: Served, body: bytes) -> None:
    refused = ask(agent.unix, "/blocks/confirm", "POST", body, Content_Type="application/json")
    assert refused.status == 400
    assert agent.asked.said == []


def test_a_body_that_is_too_long_is_refused(agent: Served) -> None:
    body = b'{"target": "%s"}' % (b"x" * 70_000)
    refused = ask(agent.unix, "/blocks/confirm", "POST", body, Content_Type="application/json")
    assert refused.status == 413
    assert refused.headers["content-type"] == "application/problem+json"
    assert ask(agent.unix, "/health", X_Long="x" * 40_000).status == 431


def test_events_are_heard_as_they_happen_and_places_are_bounded(agent: Served) -> None:
    heard = []
    for _ in range(READERS):
        over = connection(agent.unix)
        over.request("GET", "/events")
        answer = over.getresponse()
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.readline() == b"retry: 2000\n"
        heard.append((over, answer))
    assert ask(agent.tcp, "/events").status == 503
    assert ask(agent.tcp, "/health").status == 200
    agent.board.apply(event(finding(9)))
    for over, answer in heard:
        lines = [answer.readline() for _ in range(4)]
        assert lines[2] == b"event: alert\n"
        assert json.loads(lines[3].removeprefix(b"data: "))["alert"]["host"] == "192.0.2.9"
        over.close()


def test_the_places_of_readers_who_have_gone_are_given_back(agent: Served) -> None:
    for _ in range(READERS):
        over = connection(agent.tcp)
        over.request("GET", "/events")
        answer = over.getresponse()
        answer.readline()
        answer.close()
        over.close()
    until = time.monotonic() + 30
    while (status := ask_only_for_the_head(agent)) == 503 and time.monotonic() < until:
        time.sleep(0.2)
    assert status == 200


def ask_only_for_the_head(agent: Served) -> int:
    """HEAD holds no place: the answer is closed unread."""
    return ask(agent.tcp, "/events", "HEAD").status


def test_a_replay_cannot_be_changed(tmp_path: Path) -> None:
    board = Board("1")
    with surface(board, board.events, None, settings(tmp_path)):
        assert ask(tmp_path / "agent.sock", "/reload", "POST").status == 409


def test_what_nobody_foresaw_is_told_without_detail(
    agent: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    agent.asked.reload = None  # type: ignore[method-assign, assignment]
    refused = ask(agent.unix, "/reload", "POST")
    assert refused.status == 500
    assert "NoneType" not in refused.body.decode()
    out, err = capfd.readouterr()
    assert "NoneType" in out + err


def test_a_second_agent_is_told_the_pid_of_the_first(agent: Served, tmp_path: Path) -> None:
    board = Board("1")
    with (
        pytest.raises(OutputError, match=rf"agent\.sock: .* another process, pid {os.getpid()}$"),
        surface(board, board.events, None, settings(tmp_path)),
    ):
        pass
    other = tmp_path / "other"
    with (
        pytest.raises(OutputError, match=rf"metrics\.listen {agent.tcp}: .* pid {os.getpid()} "),
        surface(board, board.events, None, settings(other, agent.tcp)),
    ):
        pass
    assert ask(agent.unix, "/health").status == 200
    assert not (other / "agent.sock").exists()


def test_a_socket_that_a_crash_left_behind_is_replaced(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from fortress.http.sockets import unix_socket\n"
        "with unix_socket(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "agent.sock")], check=False)
    assert (tmp_path / "agent.sock").is_socket()
    with served(tmp_path) as agent:
        assert ask(agent.unix, "/health").status == 200


def test_a_file_in_the_sockets_place_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "agent.sock").write_text("precious")
    with pytest.raises(OutputError, match="is no socket"), served(tmp_path):
        pass
    assert (tmp_path / "agent.sock").read_text() == "precious"


def test_who_fills_the_port_does_not_shut_the_unix_socket(agent: Served) -> None:
    held = [connection(agent.tcp) for _ in range(80)]
    for one in held:
        one.connect()
    assert ask(agent.unix, "/reload", "POST").status == 200
    for one in held:
        one.close()
    assert ask(agent.tcp, "/health").status == 200


def test_a_path_that_no_unix_socket_can_have_is_told(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    with pytest.raises(OutputError, match="too long for a unix socket"), served(folder):
        pass


def test_noise_on_the_socket_harms_nobody(agent: Served, rng: np.random.Generator) -> None:
    starts = (b"", b"GET / HTTP/1.1\r\n", b"POST /reload HTTP/1.1\r\nContent-Length: -5\r\n")
    for number in range(150):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as noisy:
            noisy.connect(str(agent.unix))
            noisy.sendall(starts[number % 3] + rng.bytes(300) + b"\r\n\r\n")
    assert ask(agent.unix, "/health").status == 200
    assert ask(agent.tcp, "/health").status == 200
    assert agent.asked.said == []


def test_stopping_does_not_wait_for_readers_of_events(tmp_path: Path) -> None:
    with served(tmp_path) as agent:
        over = connection(agent.unix)
        over.request("GET", "/events")
        over.getresponse().readline()
        began = time.monotonic()
    assert time.monotonic() - began < 10
    over.close()


def test_models_are_promoted_and_rolled_back_with_the_token_alone(agent: Served) -> None:
    body = {"name": "flow-classifier", "version": "1.1.0"}
    assert ask(agent.tcp, "/models/promote", "POST", body).status == 401
    bearing = {"Authorization": bearer(agent.token)}
    done = ask(agent.tcp, "/models/promote", "POST", body, **bearing)
    assert (done.status, done.json["message"]) == (200, "flow-classifier 1.1.0 is in use")
    back = ask(agent.unix, "/models/rollback", "POST", {"name": "flow-classifier"})
    assert (back.status, back.json["done"]) == (200, True)
    assert agent.asked.said == ["promote flow-classifier 1.1.0", "rollback flow-classifier"]
    refused = ask(agent.unix, "/models/promote", "POST", body | {"version": "9.9.9"})
    assert (refused.status, refused.json["detail"]) == (409, "flow-classifier: no such version")


@pytest.mark.parametrize(
    "body", [{}, {"name": 3}, {"name": ""}, {"name": "x" * 65}, {"name": "a", "more": "b"}]
)
def test_a_request_about_a_model_that_says_something_else_is_refused(
    agent: Served, body: dict[str, object]
) -> None:
    refused = ask(agent.unix, "/models/rollback", "POST", body)
    assert (refused.status, agent.asked.said) == (400, [])
