"""What the lab's servers need before they start: accounts, keys, configurations, contents.

Everything lies under ``ROOM`` in the sandbox's private memory; bind mounts put the accounts and
the resolver over the machine's own, for this sandbox alone. The contents are seeded, so the same
each time.
"""

from __future__ import annotations

import random
from pathlib import Path
from string import Template

from tests.lab.sandbox import ROOM, run

USER, PASSWORD = "labuser", "correct-horse-battery"
PAGES = 12
WEB_SERVERS = ("web", "nas", "c2", "outsider")
_TEMPLATES = Path(__file__).with_name("etc")
_ETC = ROOM / "etc"
_ACCOUNTS = {"root": 0, "sshd": 990, "nobody": 65534, "ftp": 991, "tcpdump": 992, USER: 4999}
_SITES = {  # where a page lies, and where its images do
    "www.news.example": "img.news.example",
    "shop.example": "cdn.shop.example",
    "mail.example": "mail.example",
}
_OBJECT_BYTES = (1_200, 3_000, 6_000, 9_000, 14_000, 22_000, 40_000, 90_000)
_BACKUP_BYTES = 3_000_000
_GUESSES = 200
_SYLLABLES = ("an", "be", "co", "di", "el", "fu", "go", "hi", "ka", "lo", "mi", "no", "pa", "ru")


def furnish() -> None:
    """Write everything; needs the sandbox's own /run."""
    for folder in ("etc", "home", "logs", "www", *WEB_SERVERS):
        (ROOM / folder).mkdir(parents=True)
    _write_configurations()
    _write_accounts()
    _write_keys()
    _write_web(random.Random("fortress lab web"))
    _write_guesses(random.Random("fortress lab guesses"))


def _write_configurations() -> None:
    for path in _TEMPLATES.iterdir():
        if path.name != "nginx":
            text = Template(path.read_text())
            filled = text.substitute(room=ROOM, user=USER, password=PASSWORD)
            (_ETC / path.name).write_text(filled)
    nginx = Template((_TEMPLATES / "nginx").read_text())
    for name in WEB_SERVERS:
        (_ETC / f"nginx-{name}").write_text(nginx.substitute(room=ROOM, name=name))


def _write_accounts() -> None:
    """Put accounts that exist only here over the machine's: one user can log in."""
    home = ROOM / "home"
    crypted = run("openssl", "passwd", "-6", PASSWORD).strip()
    passwd = (f"{name}:x:{number}:{number}::{home}:/bin/bash" for name, number in _ACCOUNTS.items())
    group = (f"{name}:x:{number}:" for name, number in _ACCOUNTS.items())
    shadow = (f"{name}:{crypted if name == USER else '*'}:19000:0:99999:7:::" for name in _ACCOUNTS)
    for file_name, lines in (("passwd", passwd), ("group", group), ("shadow", shadow)):
        (_ETC / file_name).write_text("\n".join(lines) + "\n")
    for file_name in ("passwd", "group", "shadow", "resolv.conf"):
        run("mount", "--bind", str(_ETC / file_name), str(Path("/etc", file_name).resolve()))
    for service in Path("/etc/pam.d").glob("*"):
        if service.name in ("sshd", "vsftpd"):
            run("mount", "--bind", str(_ETC / "pam"), str(service))
    hashed = run("openssl", "passwd", "-apr1", PASSWORD).strip()
    (_ETC / "shadow-web").write_text(f"{USER}:{hashed}\n")
    run("chown", str(_ACCOUNTS[USER]), str(home))
    askpass = ROOM / "askpass"
    askpass.write_text('#!/bin/sh\nprintf "%s\\n" "$LAB_PASSWORD"\n')
    askpass.chmod(0o755)


def _write_keys() -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(_ETC / "host_key"))
    key = ("-newkey", "rsa:2048", "-nodes", "-keyout", str(_ETC / "tls.key"))
    subject = ("-subj", "/CN=www.news.example", "-days", "30", "-out", str(_ETC / "tls.pem"))
    run("openssl", "req", "-x509", *key, *subject)


def _write_web(chance: random.Random) -> None:
    """Write texts, images and, for each page, the list of objects that a browser would fetch."""
    root = ROOM / "www"
    for index, size in enumerate(_OBJECT_BYTES):
        words = " ".join(f"item{chance.randrange(10_000)}" for _ in range(size // 5))
        (root / f"t{index}.html").write_text(words[:size])
        (root / f"i{index}.webp").write_bytes(chance.randbytes(size))
    (root / "beat").write_text("ok\n")
    (ROOM / "backup.bin").write_bytes(chance.randbytes(_BACKUP_BYTES))
    for page in range(PAGES):
        scheme = "http" if page % 4 == 0 else "https"
        site, image_site = chance.choice(sorted(_SITES.items()))
        objects = [f"{site}/t{chance.randrange(3, 7)}.html"]
        for _ in range(chance.randrange(5, 18)):
            objects.append(f"{image_site}/i{chance.randrange(len(_OBJECT_BYTES) - 1)}.webp")
        lines = ["silent", "insecure", "compressed", "parallel", "parallel-max = 6"]
        for place in objects:
            lines += [
                f'url = "{scheme}://{place}?v={chance.randrange(10**6)}"',
                "output = /dev/null",
            ]
        (_ETC / f"page{page}").write_text("\n".join(lines) + "\n")


def _write_guesses(chance: random.Random) -> None:
    """Write made-up pass-words, the right one not among them."""
    guesses = {
        "".join(chance.choices(_SYLLABLES, k=3)) + str(chance.randrange(100))
        for _ in range(2 * _GUESSES)
    }
    (_ETC / "guesses").write_text("\n".join(sorted(guesses)[:_GUESSES]) + "\n")
