"""Everyday traffic, as steps that scenarios share."""

from tests.lab.scenario import Step


def browsing(actor: str, times: int, every: float, at: float = 0.0) -> Step:
    """A person opening web pages now and then: names looked up, a dozen objects a page."""
    return Step(actor, "curl --config {page}", at=at, times=times, every=every, jitter=0.9)


def lookups(actor: str, times: int, every: float, at: float = 0.0) -> Step:
    """Name look-ups of an application, some for names that do not exist."""
    names = "www.news.example shop.example mail.example wpad.lan.example AAAA cdn.shop.example"
    return Step(actor, f"dig +tries=1 +time=2 {names}", at=at, times=times, every=every, jitter=0.9)


def monitoring_ping(actor: str, host: str, count: int, at: float = 0.0) -> Step:
    """A monitoring system's ping, one a second."""
    return Step(actor, f"ping -n -c {count} -i 1 {{{host}}}", at=at, seconds=1.1 * count + 10)


def login(actor: str, times: int, every: float, at: float = 0.0) -> Step:
    """A short SSH session with the right password, running a few commands."""
    command = "ls -l /usr/bin | head -60; uptime; df; sleep 1"
    # 255: sshd turns connections away while many are half open, as under password guessing
    exits = (0, 255)
    return Step(actor, f"{_SSH} '{command}'", at, times=times, every=every, jitter=0.5, exits=exits)


def mistyped_login(actor: str, times: int, every: float, at: float = 0.0) -> Step:
    """A person who mistypes the password and gives up: one failed log-in at a time."""
    command = f"bash -c 'LAB_PASSWORD=mistyped exec {_SSH} true'"
    return Step(actor, command, at=at, times=times, every=every, jitter=0.5, exits=(255,))


def copy(actor: str, times: int = 1, every: float = 0.0, at: float = 0.0) -> Step:
    """A 6 MB file copied to the NAS over SSH."""
    command = f"scp -q {_OPTIONS} {{room}}/backup.bin {{user}}@{{nas}}:copy-{actor}"
    return Step(actor, command, at=at, times=times, every=every, seconds=60)


def call(actor: str, seconds: int, at: float = 0.0) -> Step:
    """A voice and video call's shape: UDP both ways at a steady 1.5 Mbit/s, to a server outside."""
    command = f"iperf3 -c {{web}} -u -b 1500K -l 1000 -t {seconds} --bidir"
    return Step(actor, command, at=at, seconds=seconds + 15.0)


def stream(actor: str, seconds: int, at: float = 0.0) -> Step:
    """A camera's video: UDP one way at 4 Mbit/s to the recorder on the NAS, never answered."""
    return Step(
        actor, f"iperf3 -c {{nas}} -u -b 4M -l 1200 -t {seconds}", at=at, seconds=seconds + 15.0
    )


def speed_test(actor: str, megabytes: int, at: float = 0.0) -> Step:
    """Eight connections at once to a server outside, as fast as they go."""
    return Step(actor, f"iperf3 -c {{web}} -P 8 -R -n {megabytes}M", at=at, seconds=60)


def many_servers(actor: str, times: int, every: float, at: float = 0.0) -> Step:
    """One program that asks sixteen servers in turn, all of which answer."""
    command = "curl -s -o /dev/null http://198.51.100.[10-25]/beat"
    return Step(actor, command, at=at, times=times, every=every, jitter=0.5)


def dead_server(actor: str, times: int, every: float, at: float = 0.0) -> Step:
    """A program that asks, by the clock, for a server that is no longer there."""
    command = "curl -s -m 4 http://203.0.113.200/status"
    return Step(actor, command, at=at, times=times, every=every, exits=(7, 28))


def bulk(actor: str, megabytes: int, at: float = 0.0) -> Step:
    """One TCP stream as fast as it goes, to the NAS."""
    return Step(actor, f"iperf3 -c {{nas}} -n {megabytes}M", at=at, seconds=60)


def health_check(actor: str, times: int, every: float, at: float = 0.0) -> Step:
    """A monitoring system on the LAN that asks the NAS's web server at a fixed pace."""
    return Step(actor, "curl -s -o /dev/null http://{nas}/beat", at=at, times=times, every=every)


def closed_port(actor: str, times: int, every: float, at: float = 0.0) -> Step:
    """A program that still looks for a service that is gone: each attempt is refused."""
    command = "curl -s -m 3 http://{nas}:8123/"
    return Step(actor, command, at=at, times=times, every=every, jitter=0.7, exits=(7,))


def announcement(actor: str, at: float = 0.0) -> Step:
    """A device that says its own address to all, as after waking up."""
    return Step(actor, f"arping -q -U -i eth0 -c 3 {{{actor}}}", at=at, exits=(0, 1))


_OPTIONS = (
    "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    " -o NumberOfPasswordPrompts=1 -o PubkeyAuthentication=no"
)
_SSH = f"ssh {_OPTIONS} {{user}}@{{nas}}"
