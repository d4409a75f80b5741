"""Scanners that talk to what they find, and fast ones that do not."""

from tests.lab.training._step import Named, attack, scenario

_ALL = ("web", "dns", "ssh", "ftp")
_PORTS = "-p 21,22,53,80,443"
SCENARIOS: dict[str, Named] = {
    "scan_nmap_versions": (
        "nmap asks the NAS's services for their versions.",
        scenario(
            attack("scan", "nmap", "camera", "nas", f"nmap -n -Pn -sV {_PORTS} {{nas}}", 90),
            services=_ALL,
        ),
    ),
    "scan_nmap_scripts": (
        "nmap runs its default scripts against the NAS from outside.",
        scenario(
            attack("scan", "nmap", "outsider", "nas", f"nmap -n -Pn -sT -sC {_PORTS} {{nas}}", 90),
            services=_ALL,
        ),
    ),
    "scan_nmap_connect": (
        "nmap connects to every well-known port of the web server.",
        scenario(
            attack("scan", "nmap", "laptop", "web", "nmap -n -Pn -sT -p 1-1024 -T4 {web}", 60)
        ),
    ),
    "scan_masscan": (
        "masscan tries a thousand ports of the NAS and reads banners.",
        scenario(
            attack(
                "scan",
                "masscan",
                "phone",
                "nas",
                "masscan --wait 3 --rate 200 -p 1-1024 --banners {nas}",
                60,
            ),
            services=_ALL,
        ),
    ),
    "scan_masscan_outside": (
        "masscan looks for web and SSH servers outside.",
        scenario(
            attack(
                "scan",
                "masscan",
                "camera",
                "198.51.100.0/24",
                "masscan --wait 3 --rate 100 -p 22,80,443,8080 198.51.100.0/24",
                60,
            )
        ),
    ),
    "scan_sslscan": (
        "sslscan tries the ciphers of two TLS servers.",
        scenario(
            attack("scan", "sslscan", "camera", "nas", "sslscan --no-colour {nas}:443", 40),
            attack("scan", "sslscan", "phone", "web", "sslscan --no-colour {web}:443", 40, at=8),
        ),
    ),
}
