"""Programs that look for holes in web servers: pages tried, parameters tried, fingerprints."""

from tests.lab.scenario import Scenario
from tests.lab.training._step import Named, attack, scenario

_WORDS = "/usr/share/dirb/wordlists/small.txt"
_PAGE = "http://{{{0}}}/t3.html?id=1"


def _web(tool: str, actor: str, victim: str, command: str, seconds: float = 30) -> Scenario:
    return scenario(attack("web", tool, actor, victim, command, seconds))


SCENARIOS: dict[str, Named] = {
    "web_dirb": (
        "dirb looks for pages of the NAS.",
        _web("dirb", "camera", "nas", f"dirb http://{{nas}}/ {_WORDS} -S -w -r"),
    ),
    "web_gobuster": (
        "gobuster looks for pages of the NAS from outside.",
        _web(
            "gobuster",
            "outsider",
            "nas",
            f"gobuster dir -q -t 4 --delay 20ms -u http://{{nas}} -w {_WORDS}",
        ),
    ),
    "web_gobuster_tls": (
        "gobuster looks for pages of a server outside over TLS.",
        _web(
            "gobuster",
            "laptop",
            "web",
            f"gobuster dir -k -q -t 2 --delay 40ms -u https://{{web}} -w {_WORDS}",
        ),
    ),
    "web_ffuf": (
        "ffuf looks for pages of the NAS.",
        _web("ffuf", "phone", "nas", f"ffuf -s -rate 60 -u http://{{nas}}/FUZZ -w {_WORDS}"),
    ),
    "web_wfuzz": (
        "wfuzz tries a parameter's values.",
        _web(
            "wfuzz",
            "camera",
            "nas",
            f"wfuzz -t 3 -s 0.05 -w {_WORDS} http://{{nas}}/t3.html?page=FUZZ",
        ),
    ),
    "web_sqlmap": (
        "sqlmap tries to inject into a parameter of the NAS.",
        _web(
            "sqlmap",
            "camera",
            "nas",
            "sqlmap --batch --level 2 --risk 2 --output-dir {room}/sqlmap -u "
            + _PAGE.format("nas"),
            45,
        ),
    ),
    "web_sqlmap_outside": (
        "sqlmap tries to inject into a parameter of a server outside.",
        _web(
            "sqlmap",
            "laptop",
            "web",
            "sqlmap --batch --technique UB --delay 0.05 --output-dir {room}/sqlmap -u "
            + _PAGE.format("web"),
            45,
        ),
    ),
    "web_wapiti": (
        "wapiti tries all its modules on the NAS.",
        _web(
            "wapiti",
            "outsider",
            "nas",
            "wapiti --flush-session --max-scan-time 1 -d 2 -u http://{nas}/t3.html",
            60,
        ),
    ),
    "web_whatweb": (
        "whatweb fingerprints the web servers, aggressively.",
        _web(
            "whatweb",
            "camera",
            "nas",
            "whatweb -a 3 --no-errors http://{nas}/ http://{nas}/t4.html",
        ),
    ),
    "web_nmap_enum": (
        "nmap's script looks for known pages.",
        _web("nmap", "phone", "nas", "nmap -n -Pn -p 80 --script http-enum,http-headers {nas}"),
    ),
}
