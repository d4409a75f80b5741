"""Tunnels: other traffic inside of DNS, ICMP and HTTP."""

from tests.lab.scenario import Scenario, Step
from tests.lab.training._step import Named, attack, scenario, server, use

_SECONDS = 50.0


def _iodine(actor: str, kind: str, more: str = "") -> Scenario:
    return scenario(
        server("c2", "iodined -f -c -P laboratory 10.53.0.1/24 t.example", _SECONDS + 5),
        attack(
            "tunnel",
            "iodine",
            actor,
            "c2",
            f"iodine -f -r -P laboratory -T {kind} {more} {{c2}} t.example",
            _SECONDS,
        ),
        use(actor, "ping -n -c 12 -i 1 10.53.0.1", 12),
        use(actor, "curl -s -m 15 -o /dev/null http://10.53.0.1/t3.html", 26, 3, 6),
        services=("web", "dns", "c2"),
    )


def _through(
    tool: str, actor: str, far: str, near: str, port: int, pages: tuple[str, ...]
) -> Scenario:
    uses = [
        use(actor, f"curl -s -m 20 -o /dev/null http://127.0.0.1:{port}/{page}", 5 + 6 * n)
        for n, page in enumerate(pages)
    ]
    return scenario(
        server("c2", far, _SECONDS + 5),
        attack("tunnel", tool, actor, "c2", near, _SECONDS),
        *uses,
        services=("web", "dns", "c2"),
    )


def _dns2tcp(actor: str, kind: str, pages: tuple[str, ...]) -> Scenario:
    conf = (
        "listen = 0.0.0.0\\nport = 53\\nuser = root\\nkey = laboratory\\ndomain = t.example\\n"
        "resources = web:127.0.0.1:80\\n"
    )
    return _through(
        "dns2tcp",
        actor,
        f"bash -c 'printf \"{conf}\" >{{room}}/dns2tcpd && exec dns2tcpd -F -f {{room}}/dns2tcpd'",
        f"dns2tcpc -z t.example -k laboratory -T {kind} -r web -l 2222 {{c2}}",
        2222,
        pages,
    )


_PTUNNEL = "ptunnel-ng -v 0 -r127.0.0.1 -R80"
_SMALL = ("beat", "t0.html", "t1.html", "beat", "t2.html", "t0.html")
_LARGE = ("t3.html", "i5.webp", "t4.html", "i6.webp", "beat")


def _shell(actor: str) -> tuple[Step, ...]:
    return (use(actor, "curl -s -m 20 -o /dev/null http://127.0.0.1:8900/beat", 5, 8, 4),)


SCENARIOS: dict[str, Named] = {
    "tunnel_iodine_null": ("iodine in NULL records, used now and then.", _iodine("camera", "NULL")),
    "tunnel_iodine_txt": ("iodine in TXT records.", _iodine("phone", "TXT", "-O base32")),
    "tunnel_iodine_lazy": ("iodine in CNAMEs, not lazy.", _iodine("laptop", "CNAME", "-L 0 -I 2")),
    "tunnel_dns2tcp_txt": ("dns2tcp in TXT records.", _dns2tcp("camera", "TXT", _SMALL)),
    "tunnel_dns2tcp_key": ("dns2tcp in KEY records.", _dns2tcp("laptop", "KEY", _LARGE)),
    "tunnel_icmp": (
        "ptunnel-ng carries small pages in echoes.",
        _through(
            "ptunnel",
            "camera",
            _PTUNNEL,
            "ptunnel-ng -v 0 -p{c2} -l8000 -r127.0.0.1 -R80",
            8000,
            _SMALL,
        ),
    ),
    "tunnel_icmp_bulk": (
        "ptunnel-ng carries pictures in echoes.",
        _through(
            "ptunnel",
            "phone",
            _PTUNNEL,
            "ptunnel-ng -v 0 -p{c2} -l8000 -r127.0.0.1 -R80",
            8000,
            _LARGE,
        ),
    ),
    "tunnel_http": (
        "httptunnel carries pages in endless requests.",
        _through(
            "httptunnel",
            "camera",
            "hts -w -F 127.0.0.1:80 8888",
            "htc -w -F 8900 {c2}:8888",
            8900,
            _SMALL,
        ),
    ),
    "tunnel_http_bulk": (
        "httptunnel carries pictures in endless requests.",
        _through(
            "httptunnel",
            "laptop",
            "hts -w -k 3 -F 127.0.0.1:80 8888",
            "htc -w -k 3 -F 8900 {c2}:8888",
            8900,
            _LARGE,
        ),
    ),
}
