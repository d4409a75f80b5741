"""The servers of the lab: real daemons on throw-away configurations, keys, accounts and contents."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.network import HOSTS, Network
from tests.lab.sandbox import ROOM, SandboxError, run

USER, PASSWORD = "labuser", "correct-horse-battery"
PAGES = 12
SITES = tuple(f"{name}.example" for name in ("www.news", "img.news", "shop", "cdn.shop", "mail"))
MONITOR_NAMES = ("nas.lan.example", "gateway.lan.example")
_OBJECT_BYTES = (1_200, 3_000, 6_000, 9_000, 14_000, 22_000, 40_000, 90_000)


@dataclass(frozen=True, slots=True)
class Service:
    """A daemon: the host it runs on, its command, and the TCP or UDP port that shows that it is ready."""

    host: str
    command: tuple[str, ...]
    port: int
    tool: str


SERVICES: dict[str, tuple[Service, ...]] = {
    "ssh": (Service("nas", ("/usr/sbin/sshd", "-D", "-e", "-f", f"{ROOM}/etc/sshd"), 22, "sshd"),),
    "ftp": (Service("nas", ("vsftpd", f"{ROOM}/etc/vsftpd"), 21, "vsftpd"),),
    "web": (
        Service("web", ("nginx", "-c", f"{ROOM}/etc/nginx-web"), 80, "nginx"),
        Service("nas", ("nginx", "-c", f"{ROOM}/etc/nginx-nas"), 80, "nginx"),
    ),
    "c2": (Service("c2", ("nginx", "-c", f"{ROOM}/etc/nginx-c2"), 80, "nginx"),),
    "dns": (Service("gateway", ("dnsmasq", "-k", "-C", f"{ROOM}/etc/dnsmasq"), 53, "dnsmasq"),),
    "iperf": tuple(Service(host, ("iperf3", "-s"), 5201, "iperf3") for host in ("nas", "web")),
}


@contextmanager
def started(network: Network, names: tuple[str, ...]) -> Iterator[None]:
    """The named services, answering; stopped again on the way out."""
    _write_accounts()
    _write_contents(random.Random("fortress lab contents"))
    _write_configurations()
    running: list[subprocess.Popen[bytes]] = []
    try:
        for service in (service for name in names for service in SERVICES[name]):
            log = (ROOM / "logs" / f"{service.tool}-{service.host}").open("ab")
            words = [*network.prefix(service.host), *service.command]
            with log:
                running.append(
                    subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                )
            _wait_until_listening(network, service, running[-1])
        yield
    finally:
        for daemon in running:
            daemon.terminate()
        for daemon in running:
            daemon.wait(timeout=10)


def _wait_until_listening(
    network: Network, service: Service, daemon: subprocess.Popen[bytes]
) -> None:
    for _ in range(200):
        if f":{service.port} " in network.inside(service.host, "ss", "-Hlntu"):
            return
        if daemon.poll() is not None:
            break
        time.sleep(0.05)
    log = (ROOM / "logs" / f"{service.tool}-{service.host}").read_text(errors="replace")
    raise SandboxError(f"{service.tool} on {service.host} does not listen: {log[-500:]}")


def _write_accounts() -> None:
    """Put accounts that exist only here over the machine's: one user with a known password."""
    crypted = run("openssl", "passwd", "-6", PASSWORD).strip()
    home = ROOM / "home"
    users = {"root": 0, "sshd": 990, "nobody": 65534, "ftp": 991, "tcpdump": 992, USER: 4999}
    etc = ROOM / "etc"
    (etc / "passwd").write_text(
        "".join(f"{name}:x:{uid}:{uid}::{home}:/bin/bash\n" for name, uid in users.items())
    )
    (etc / "group").write_text("".join(f"{name}:x:{uid}:\n" for name, uid in users.items()))
    (etc / "shadow").write_text(
        "".join(f"{name}:{crypted if name == USER else '*'}:19000:0:99999:7:::\n" for name in users)
    )
    (etc / "resolv.conf").write_text("nameserver 192.168.77.1\noptions timeout:2 attempts:2\n")
    (etc / "pam").write_text("auth required pam_unix.so\naccount required pam_unix.so\n")
    pam = [name for name in ("sshd", "vsftpd") if Path("/etc/pam.d", name).exists()]
    for name in ("passwd", "group", "shadow", "resolv.conf"):
        run("mount", "--bind", str(etc / name), str(Path("/etc", name).resolve()))
    for name in pam:
        run("mount", "--bind", str(etc / "pam"), f"/etc/pam.d/{name}")
    run("chown", "4999:4999", str(home))
    askpass = home / "askpass"
    askpass.write_text('#!/bin/sh\nprintf "%s\\n" "$LAB_PASSWORD"\n')
    askpass.chmod(0o755)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(etc / "host_key"))
    words = random.Random("fortress lab words")
    syllables = ("an", "be", "co", "di", "el", "fu", "go", "hi", "ka", "lo", "mi", "no", "pa", "ru")
    guesses = {
        "".join(words.choices(syllables, k=3)) + str(words.randrange(100)) for _ in range(200)
    }
    (etc / "guesses").write_text("".join(f"{guess}\n" for guess in sorted(guesses)))


def _write_contents(chance: random.Random) -> None:
    """Write the web root and, for each page, the list of objects that a browser would fetch."""
    root = ROOM / "www"
    root.mkdir()
    for index, size in enumerate(_OBJECT_BYTES):
        words = " ".join(f"item{chance.randrange(10_000)}" for _ in range(size // 9 + 1))
        (root / f"t{index}.html").write_text(words[:size])
        (root / f"i{index}.webp").write_bytes(chance.randbytes(size))
    (root / "beat").write_text("ok\n")
    (ROOM / "backup.bin").write_bytes(chance.randbytes(6_000_000))
    run("cp", str(ROOM / "backup.bin"), str(root / "backup.bin"))
    for page in range(PAGES):
        lines = ["silent", "insecure", "compressed", "parallel", "parallel-max = 6"]
        site = chance.choice(("www.news.example", "shop.example", "mail.example"))
        image_site = {"www.news.example": "img.news.example", "shop.example": "cdn.shop.example"}
        scheme = "http" if page % 4 == 0 else "https"
        names = [(site, f"t{chance.randrange(3, 7)}.html")]
        names += [
            (image_site.get(site, site), f"i{chance.randrange(len(_OBJECT_BYTES) - 1)}.webp")
            for _ in range(chance.randrange(5, 18))
        ]
        for host, name in names:
            lines += [
                f'url = "{scheme}://{host}/{name}?v={chance.randrange(10**6)}"',
                "output = /dev/null",
            ]
        (ROOM / "etc" / f"page{page}").write_text("\n".join(lines) + "\n")


def _write_configurations() -> None:
    etc = ROOM / "etc"
    (etc / "sshd").write_text(
        f"HostKey {etc}/host_key\nPidFile none\nUsePAM yes\nPasswordAuthentication yes\n"
        "PermitRootLogin prohibit-password\nUseDNS no\nPrintMotd no\nSubsystem sftp internal-sftp\n"
    )
    (etc / "vsftpd").write_text(
        "listen=YES\nbackground=NO\nlocal_enable=YES\nanonymous_enable=NO\nwrite_enable=YES\n"
        "pam_service_name=vsftpd\nsecure_chroot_dir=/run/vsftpd/empty\nseccomp_sandbox=NO\n"
        "xferlog_enable=NO\n"
    )
    subject = ("-subj", "/CN=www.news.example")
    keys = ("-newkey", "rsa:2048", "-nodes", "-keyout", f"{etc}/tls.key", "-out", f"{etc}/tls.pem")
    run("openssl", "req", "-x509", *keys, *subject, "-days", "30")
    for name in ("web", "nas", "c2"):
        (etc / f"nginx-{name}").write_text(_nginx(name))
    web4, web6 = HOSTS["web"].ipv4.rsplit(".", 1)[0], HOSTS["web"].ipv6.rsplit("::", 1)[0]
    records = [f"host-record=nas.lan.example,{HOSTS['nas'].ipv4},{HOSTS['nas'].ipv6}"]
    records += ["host-record=sync.example," + HOSTS["c2"].ipv4]
    for index, site in enumerate(SITES):
        both = f"{web4}.{10 + 3 * index},{web6}::{10 + 3 * index}"
        records.append(f"host-record={site},{both if index % 2 == 0 else both.split(',')[0]}")
    (etc / "dnsmasq").write_text(
        "no-resolv\nno-hosts\nuser=root\ngroup=root\npid-file=\ncache-size=1000\nlocal-ttl=60\n"
        "local=/example/\ninterface=br-lan\nbind-interfaces\n" + "\n".join(records) + "\n"
    )


def _nginx(name: str) -> str:
    room = ROOM / f"nginx-{name}"
    room.mkdir()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"  {kind}_temp_path {room}/{kind};\n" for kind in kinds)
    return (
        f"daemon off;\nuser root;\nworker_processes 1;\npid {room}/pid;\nerror_log {room}/errors;\n"
        "events { worker_connections 1024; }\n"
        f"http {{\n{temporary}  access_log off;\n  types {{ text/html html; image/webp webp; }}\n"
        "  server {\n    listen 80;\n    listen [::]:80;\n    listen 443 ssl;\n"
        f"    listen [::]:443 ssl;\n    ssl_certificate {ROOM}/etc/tls.pem;\n"
        f"    ssl_certificate_key {ROOM}/etc/tls.key;\n    root {ROOM}/www;\n  }}\n}}\n"
    )
