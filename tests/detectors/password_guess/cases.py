"""Password guessing, and what looks like it."""

from tests.detectors.cases import ALERT, NOTICE, QUIET, Case, Recorded
from tests.detectors.world import World

GUESSER, SERVER = "198.51.100.7", "10.0.0.1"
REFUSED_SSH = (2100, 2400)


def ssh(world: World) -> None:
    for number in range(12):
        world.flow(number * 2, GUESSER, SERVER, 22, said=REFUSED_SSH, lasts=1.5)


def ssh_four_at_once(world: World) -> None:
    for number in range(4):
        world.flow(number * 0.1, GUESSER, SERVER, 22, "S1", said=(1187, 1773), lasts=0.6)
        for refusal in (1, 2):
            said = 1187 + 84 * refusal, 1773 + 76 * refusal
            world.goes_on(0.5 + number * 0.1 + 3.5 * refusal, said)
        world.goes_on(11, (1407, 1969), "SF")


def third_time_lucky(world: World) -> None:
    for number in range(8):
        begin = number * 15
        world.flow(begin, "10.0.0.7", SERVER, 22, "S1", said=(1187, 1773), lasts=0.6)
        world.goes_on(begin + 4, (1271, 1849))
        world.goes_on(begin + 8, (3500, 8200))
        world.goes_on(begin + 9, (3600, 8300), "SF")


def tunnels(world: World) -> None:
    for number in range(6):
        world.flow(number, "10.0.0.7", SERVER, 22, "S1", said=(1900, 2600), lasts=0.6)


def slow_line(world: World) -> None:
    for number in range(20):
        begin = number * 6
        world.flow(begin, "10.0.0.7", SERVER, 22, "S1", said=(1300, 1200), lasts=0.6)
        world.goes_on(begin + 1, (1500, 1250))
        world.goes_on(begin + 2, (2600, 5200))
        world.goes_on(begin + 3, (2700, 5400), "SF")


def ssh_elsewhere(world: World) -> None:
    for number in range(12):
        world.flow(number * 2, GUESSER, SERVER, 2222, said=REFUSED_SSH, lasts=1.5)


def ssh_slow(world: World) -> None:
    for number in range(40):
        world.flow(number * 70, GUESSER, SERVER, 22, said=REFUSED_SSH, lasts=3)


def ftp(world: World) -> None:
    for number in range(10):
        world.flow(number * 1.5, GUESSER, SERVER, 21, said=(40, 110), lasts=1)


def rdp(world: World) -> None:
    for number in range(10):
        world.flow(number * 0.5, GUESSER, SERVER, 3389, said=(1200, 1900), lasts=0.3)


def telnet(world: World) -> None:
    for number in range(10):
        world.flow(number * 3, GUESSER, SERVER, 23, said=(60, 140), lasts=2)


def forgotten_password(world: World) -> None:
    for number in range(3):
        world.flow(number * 20, "10.0.0.7", SERVER, 22, said=REFUSED_SSH, lasts=10)
    world.flow(70, "10.0.0.7", SERVER, 22, said=(9000, 60_000), lasts=300)


def deployment(world: World) -> None:
    for number in range(60):
        world.flow(
            number, "10.0.0.7", SERVER, 22, said=(4000, 6500 + 700 * (number % 5)), lasts=0.6
        )


def backup(world: World) -> None:
    for number in range(30):
        world.flow(number * 4, "10.0.0.7", SERVER, 22, said=(9_000_000, 40_000), lasts=3)


def file_transfers(world: World) -> None:
    for number in range(30):
        world.flow(number * 4, "10.0.0.7", SERVER, 21, said=(150, 900), lasts=2)


def port_check(world: World) -> None:
    for number in range(100):
        world.flow(number, "10.0.0.7", SERVER, 22, said=(0, 41), lasts=0.1)


def web(world: World) -> None:
    for number in range(100):
        world.flow(number * 0.5, "10.0.0.7", SERVER, 443, said=REFUSED_SSH)


CASES = (
    Case("SSH passwords, one every two seconds", ssh, ALERT, GUESSER, SERVER, 1701, within_s=20),
    Case("four SSH connections at once, three passwords in each", ssh_four_at_once, ALERT,
         GUESSER, SERVER, 1701, within_s=5),
    Case("SSH on another port", ssh_elsewhere, ALERT, GUESSER, SERVER, 1701),
    Case("SSH passwords, one a minute", ssh_slow, ALERT, GUESSER, SERVER, 1701),
    Case("FTP passwords", ftp, ALERT, GUESSER, SERVER, 1702, within_s=20),
    Case("RDP passwords", rdp, ALERT, GUESSER, SERVER, 1703, within_s=10),
    Case("telnet passwords", telnet, ALERT, GUESSER, SERVER, 1704, within_s=30),
    Case("somebody who forgot the password", forgotten_password, NOTICE),
    Case("a deployment by SSH, command by command", deployment, QUIET),
    Case("somebody who mistypes the password first, again and again", third_time_lucky, QUIET),
    Case("six SSH tunnels that stay open", tunnels, QUIET),
    Case("a deployment by SSH over a slow line", slow_line, QUIET),
    Case("a backup over SSH", backup, QUIET),
    Case("file transfers over FTP", file_transfers, QUIET),
    Case("a monitor that looks whether SSH is there", port_check, QUIET),
    Case("the same sizes on a port without passwords", web, QUIET),
)  # fmt: skip
CAPTURES = (
    Recorded("guessing SSH", ALERT, "password_guess_ssh.pcap.zst", host="192.168.77.66",
             target="192.168.77.10", signature_id=1701),
    Recorded("guessing FTP", ALERT, "password_guess_ftp.pcap.zst", host="192.168.77.66",
             signature_id=1702),
    Recorded("guessing RDP", ALERT, "password_guess_rdp.pcap.zst", host="192.168.77.66",
             signature_id=1703),
    Recorded("an administrator's day over SSH", QUIET, "benign_admin.pcap.zst"),
    Recorded("a backup over SSH", QUIET, "benign_backup.pcap.zst"),
    Recorded("guessing SSH by hand", ALERT, shared="attack/33b09dbc_zeek__sshguess.pcap",
             host="192.168.56.1", target="192.168.56.103", signature_id=1701),
    Recorded("guessing FTP by hand", ALERT, shared="attack/087d04aa_zeek__bruteforce.pcap",
             host="192.168.56.1", target="192.168.56.101", signature_id=1702),
)  # fmt: skip
