"""Who talks in the house: transfers, floods and scans of real tools, each bounded in time."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.net.guarded import CAMERA, pings, until
from tests.net.house import LAN, SERVER, SERVER6, House
from tests.net.namespace import Namespace
from tests.patience import patient

OFFERED, LEAST_SHARE, TRIES = 2_500_000_000, 0.95, 6
_GRACE_S = 20.0


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a transfer by iperf3 came to: bits a second in all, bytes of each interval."""

    bits_per_s: float
    intervals: tuple[int, ...]
    error: str

    @property
    def never_stalled(self) -> bool:
        """Whether every interval brought something, and nothing went wrong."""
        return not self.error and bool(self.intervals) and min(self.intervals) > 0


@contextlib.contextmanager
def serving(house: House, *ports: int) -> Iterator[None]:
    """The server takes transfers, one at a time on each port (5201 and 5202)."""
    ports = ports or (5201, 5202)
    with contextlib.ExitStack() as stack:
        for port in ports:
            words = house.server.command("iperf3", "-s", "-p", str(port))
            server = stack.enter_context(subprocess.Popen(words, stdout=subprocess.DEVNULL))
            stack.callback(server.kill)
        until(lambda: all(f":{port} " in house.server.run("ss", "-Hlnt") for port in ports))
        yield


class Going:
    """A transfer between laptop and server that goes on while the body runs."""

    def __init__(
        self,
        house: House,
        seconds: float,
        *options: str,
        six: bool = False,
        port: int = 5201,
    ) -> None:
        self._seconds = seconds
        words = ["iperf3", "-c", SERVER6 if six else SERVER, "-p", str(port)]
        words += ["-t", f"{seconds:g}", "-i", "0.5"]
        command = house.laptop.command(*words, "-J", "--connect-timeout", "5000", *options)
        self._client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        house.started.append(self._client)
        time.sleep(0.5)

    def finish(self) -> Transfer:
        """What it came to, once it has ended."""
        try:
            told, wrong = self._client.communicate(timeout=self._seconds + _GRACE_S)
        except subprocess.TimeoutExpired:
            self._client.kill()
            told, wrong = self._client.communicate()
        return _read(told, wrong)


def transfer(house: House, seconds: float, *options: str, six: bool = False) -> Transfer:
    """What a transfer of so many seconds comes to."""
    return Going(house, seconds, *options, six=six).finish()


def best_shares(house: House) -> float:
    """The worst of three directions' best shares of an offered 2.5 Gbit/s, of TRIES at most."""
    worst = 1.0
    for options, six in (((), False), (("-R",), False), ((), True)):
        best = 0.0
        for _ in range(TRIES):
            done = transfer(house, 1.5, "-b", str(OFFERED), *options, six=six)
            best = max(best, done.bits_per_s / OFFERED)
            if best >= LEAST_SHARE:
                break
        worst = min(worst, best)
    return worst


def _read(told: bytes, wrong: bytes) -> Transfer:
    try:
        values: dict[str, Any] = json.loads(told)
    except ValueError:
        return Transfer(0.0, (), (told + wrong).decode(errors="replace")[-500:] or "killed")
    end = values.get("end", {}).get("sum_received", {})
    return Transfer(
        end.get("bits_per_second", 0.0),
        # the last interval may be a sliver of one
        tuple(one["sum"]["bytes"] for one in values["intervals"] if one["sum"]["seconds"] > 0.2),
        values.get("error", ""),
    )


@contextlib.contextmanager
def running(place: Namespace, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A tool that runs in the place until the body ends."""
    tool = subprocess.Popen(
        place.command(*words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield tool
    finally:
        tool.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            tool.wait(timeout=patient(5))
        tool.kill()
        tool.wait()


def syn_flood(house: House, target: str, *options: str, port: int = 80) -> Any:
    """hping3 asks the target for 2,000 connections a second while the body runs (IPv4)."""
    words = ("-S", "-p", str(port), "-i", "u500", "-q", "-n", *options)
    return running(house.stranger, "hping3", *words, target)


@contextlib.contextmanager
def forging_flood(
    place: Namespace, source: str, target: str, *, port: int = 80, seconds: float
) -> Iterator[None]:
    """2,000 requests for connections a second in somebody else's name, for so long at the most."""
    six = "-6" if ":" in source else "-4"
    (route,) = json.loads(place.run("ip", "-j", six, "route", "show", "default"))
    assert pings(place, route["gateway"])
    (known,) = json.loads(place.run("ip", "-j", "neigh", "show", route["gateway"]))
    (link,) = json.loads(place.run("ip", "-j", "link", "show", "eth0"))
    ends = ("eth0", link["address"], known["lladdr"], source, target)
    words = [sys.executable, "-m", "tests.net.forger", *ends, str(port), "2000", f"{seconds:g}"]
    with running(place, *words):
        yield


@contextlib.contextmanager
def operating(house: House, folder: Path) -> Iterator[None]:
    """Someone works on the gateway by SSH, from the laptop, while the body runs."""
    with sshd(house.namespace, folder):
        words = house.laptop.command("ssh", *_ssh_options(folder), f"root@{LAN}", "sleep 60")
        with subprocess.Popen(words, stdin=subprocess.DEVNULL) as session:
            try:
                until(lambda: ":22 " in house.namespace.run("ss", "-Hnt", "state", "established"))
                yield
            finally:
                session.kill()


@contextlib.contextmanager
def sshd(place: Namespace, folder: Path) -> Iterator[None]:
    """OpenSSH's server in a place, with keys of its own in the folder; root's key opens it."""
    for name in ("host", "key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
        subprocess.run(words, check=True)
    config = folder / "sshd"
    config.write_text(
        f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/key.pub\nStrictModes no\n"
        "PidFile none\nUsePAM no\nPermitRootLogin prohibit-password\nPrintMotd no\n"
    )
    # its directory for privilege separation is where Debian's package expects it, for itself alone
    room = "mount -t tmpfs fortress /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f "
    words = place.command("unshare", "--mount", "sh", "-c", f"{room}{config}")
    with (folder / "sshd.log").open("wb") as log:
        daemon = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        until(lambda: ":22 " in place.run("ss", "-Hlnt"))
        yield
    finally:
        daemon.terminate()
        daemon.wait(timeout=patient(10))


def _ssh_options(folder: Path) -> list[str]:
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    options += ["BatchMode=yes", f"IdentityFile={folder}/key", "IdentitiesOnly=yes"]
    return [word for option in options for word in ("-o", option)] + ["-F", "/dev/null"]


@contextlib.contextmanager
def internet(house: House, folder: Path) -> Iterator[None]:
    """The server answers HTTP, DNS and SSH."""
    site = folder / "nginx.conf"
    (folder / "page").mkdir()
    for number in range(8):
        (folder / "page" / str(number)).write_bytes(bytes(4000 * 3**number % 200_000))
    temporary = (f"{name}_temp_path {folder}/{name};" for name in _NGINX_KEEPS)
    site.write_text(
        f"daemon off; user root; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
        f"events {{}}\nhttp {{ access_log off; {' '.join(temporary)}\n"
        f"server {{ listen 80; listen [::]:80; root {folder}/page; }} }}\n"
    )
    answers = ["-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file="]
    answers += [f"--address=/shop.example/{SERVER}", f"--address=/shop.example/{SERVER6}"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(house.server, "nginx", "-c", site))
        stack.enter_context(running(house.server, "dnsmasq", *answers))
        stack.enter_context(sshd(house.server, folder))
        listening = (":80 ", ":53 ")
        until(lambda: all(one in house.server.run("ss", "-Hlntu") for one in listening))
        yield


_NGINX_KEEPS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def everyday(house: House, folder: Path, seconds: float) -> dict[str, int]:
    """What the laptop does in so many seconds, and how often each worked: all of it, or it raises.

    Names are asked for, pages are fetched with a few connections at once, files are copied by SSH,
    neighbours are pinged, and a transfer goes on all the while.
    """
    ssh = ["ssh", *_ssh_options(folder), f"root@{SERVER}", "head", "-c", "300000", "/dev/zero"]
    dig = ["dig", "+short", "+tries=1", "+time=3", f"@{SERVER}", "shop.example"]
    curl = ["curl", "-sfZ", "--parallel-max", "4", "-m", "10", "-o", "/dev/null"]
    deeds: dict[str, list[str]] = {
        "dns": [*dig, "A"],
        "dns6": [*dig, "AAAA"],
        "web": [*curl, f"http://{SERVER}/[0-7]"],
        "web6": [*curl, f"http://\\[{SERVER6}\\]/[0-7]"],
        "ssh": ssh,
        "ping": ["ping", "-nq", "-c", "2", "-i", "0.2", "-W", "3", CAMERA],
    }
    end_s = time.monotonic() + seconds
    done = dict.fromkeys(deeds, 0)
    going = Going(house, seconds, "-b", "200M")
    while time.monotonic() < end_s:
        for name, words in deeds.items():
            command = house.laptop.command(*words)
            subprocess.run(command, check=True, capture_output=True, timeout=patient(30))
            done[name] += 1
        time.sleep(0.2)
    assert going.finish().never_stalled
    return done
