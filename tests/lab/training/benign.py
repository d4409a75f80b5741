"""Traffic that means no harm and looks as if it might: backups, polls, crawls, private tunnels."""

from tests.lab.scenario import Scenario, Step
from tests.lab.scenarios._everyday import browsing, lookups
from tests.lab.training._step import OPTIONS, Named, scenario, server, use

_ALL = ("web", "dns", "ssh", "ftp")
_SSH = f"ssh {OPTIONS}"
_LONG = 70.0


def _benign(*steps: Step, services: tuple[str, ...] = _ALL) -> Scenario:
    return scenario(browsing("laptop", times=3, every=12), *steps, services=services)


def _file(name: str, text: str) -> str:
    return f'printf "{text}" >{{room}}/{name}'


_MQTT = "mosquitto_pub -h {nas} -t home/NAME -m 21.5 -q 1"
_BROKER = _file("mq", "listener 1883\\nallow_anonymous true\\nuser root\\n")
_AGENT = _file("snmpd.conf", "rocommunity polls\\n")
SCENARIOS: dict[str, Named] = {
    "benign_rsync": (
        "rsync backs up to the NAS over SSH, and again when little has changed.",
        _benign(
            use(
                "laptop",
                f"rsync -a -e '{_SSH}' /usr/share/doc/nmap /usr/share/dirb {{user}}@{{nas}}:docs",
                2,
                4,
                12,
            ),
            use(
                "admin", f"rsync -a -e '{_SSH}' {{room}}/backup.bin {{user}}@{{nas}}:copy", 6, 3, 14
            ),
        ),
    ),
    "benign_restic": (
        "restic backs up to the NAS over SFTP.",
        _benign(
            use(
                "laptop",
                f"bash -c 'RESTIC_PASSWORD=x restic --no-cache -q -o sftp.command=\"{_SSH} "
                f"{{user}}@{{nas}} -s sftp\" -r sftp:{{user}}@{{nas}}:repo init'",
                2,
            ),
            use(
                "laptop",
                f"bash -c 'RESTIC_PASSWORD=x restic --no-cache -q -o sftp.command=\"{_SSH} "
                f'{{user}}@{{nas}} -s sftp" -r sftp:{{user}}@{{nas}}:repo backup '
                "/usr/share/dirb'",
                12,
                3,
                14,
            ),
        ),
    ),
    "benign_borg": (
        "borg backs up to the NAS.",
        _benign(
            use(
                "phone",
                f"bash -c 'BORG_RSH=\"{_SSH}\" exec borg init -e none {{user}}@{{nas}}:borg'",
                2,
            ),
            use(
                "phone",
                f'bash -c \'BORG_RSH="{_SSH}" exec borg create '
                f"{{user}}@{{nas}}:borg::{{{{now}}}} /usr/share/dirb'",
                12,
                3,
                12,
            ),
        ),
    ),
    "benign_mqtt": (
        "Sensors tell a broker what they measure.",
        _benign(
            server("nas", f"bash -c '{_BROKER} && exec mosquitto -c {{room}}/mq'", _LONG),
            use("admin", "mosquitto_sub -h {nas} -t home/#", 2),
            use("camera", _MQTT.replace("NAME", "door"), 3, 20, 2),
            use("phone", _MQTT.replace("NAME", "heat"), 4, 12, 4),
            use(
                "laptop",
                "bash -c 'for n in $(seq 30); do echo $n; sleep 1; done | mosquitto_pub -h "
                "{nas} -t home/l -l'",
                5,
            ),
        ),
    ),
    "benign_snmp": (
        "A monitoring system walks and polls the NAS by SNMP.",
        _benign(
            server(
                "nas",
                f"bash -c '{_AGENT} && exec snmpd -f -Lo -C -c {{room}}/snmpd.conf -u root "
                "udp:161'",
                _LONG,
            ),
            use("admin", "snmpwalk -v2c -c polls {nas} 1.3.6.1.2.1", 3, 2, 15),
            use(
                "admin", "snmpget -v2c -c polls {nas} 1.3.6.1.2.1.1.3.0 1.3.6.1.2.1.1.5.0", 4, 15, 3
            ),
            use("laptop", "snmpwalk -v2c -c stale -r 1 -t 1 {nas} 1.3.6.1.2.1.1", 8, 3, 10),
        ),
    ),
    "benign_calls": (
        "Telephone calls are set up and hung up by SIP.",
        _benign(
            server("web", "bash -c 'TERM=dumb exec sipp -sn uas -nostdin -i {web} -p 5060'", _LONG),
            use(
                "phone",
                "bash -c 'TERM=dumb exec sipp -sn uac -nostdin {web}:5060 -i {phone} -p 5062 -m"
                " 12 -r 1 -rp 2500 -d 4000'",
                3,
            ),
            use(
                "laptop",
                "bash -c 'TERM=dumb exec sipp -sn uac -nostdin {web}:5060 -i {laptop} -p 5064 "
                "-t t1 -m 8 -r 1 -rp 3500'",
                5,
            ),
        ),
    ),
    "benign_crawl": (
        "Downloads of many and of large files: wget, aria2, lftp.",
        _benign(
            use(
                "laptop",
                "bash -c 'for n in $(seq 0 7); do echo http://{web}/t$n.html; echo "
                "http://{web}/i$n.webp; done | wget -q -O /dev/null -w 0.2 -i -'",
                2,
                2,
                20,
            ),
            use(
                "phone",
                "aria2c -q -x 6 -s 6 -k 1M --allow-overwrite=true -d {room}/a "
                "http://{nas}/i7.webp http://{nas}/i6.webp http://{nas}/t7.html",
                4,
                4,
                9,
            ),
            use(
                "admin",
                "bash -c 'curl -s --rate 3/s -o /dev/null http://{nas}/t[0-7].html "
                "http://{nas}/gone[0-9].html'",
                6,
                3,
                14,
            ),
            use(
                "camera",
                "lftp -u {user},correct-horse-battery -e"
                ' "set ftp:ssl-allow no; ls; put {room}/backup.bin -o c.bin; ls; bye" {nas}',
                5,
                4,
                10,
            ),
        ),
    ),
    "benign_load": (
        "An administrator measures a web server: ab, siege, httping.",
        _benign(
            use("admin", "ab -q -n 300 -c 4 -k http://{nas}/t2.html", 2, 2, 20),
            use("admin", "ab -q -n 150 -c 8 http://{web}/beat", 10, 2, 18),
            use(
                "laptop",
                "bash -c 'HOME={room} exec siege -q -b -c 3 -r 20 http://{nas}/t1.html'",
                5,
                2,
                20,
            ),
            use("phone", "httping -c 20 -i 1 -g http://{nas}/beat", 4),
            use("camera", "httping -Q -Z -c 25 -i 1 -g http://{web}/beat", 6),
        ),
    ),
    "benign_polls": (
        "Programs that ask again and again over connections that they keep.",
        _benign(
            use(
                "laptop", "bash -c 'curl -s --rate 1/s -o /dev/null http://{web}/beat?n=[1-35]'", 2
            ),
            use(
                "phone",
                "bash -c 'curl -s -k --rate 40/m -o /dev/null https://{web}/beat?n=[1-25]'",
                3,
            ),
            use(
                "camera",
                "bash -c 'curl -s -k --rate 2/s -o /dev/null https://{nas}/t0.html?n=[1-60]'",
                4,
            ),
            use("admin", "curl -s -o /dev/null -u {user}:wrong http://{nas}/private/", 6, 8, 5),
            use(
                "admin",
                "curl -s -o /dev/null -u {user}:correct-horse-battery http://{nas}/private/",
                8,
                8,
                5,
            ),
        ),
    ),
    "benign_stale_keys": (
        "A job whose SSH key is no longer known tries each few seconds; another mistypes FTP.",
        _benign(
            use(
                "admin",
                f"{_SSH.replace('PubkeyAuthentication=no', 'BatchMode=yes')} {{user}}@{{nas}} true",
                2,
                8,
                6,
            ),
            use(
                "camera",
                "curl -s -m 8 -o /dev/null --user {user}:stale ftp://{nas}/backup.bin",
                4,
                5,
                9,
            ),
            use("phone", f"{_SSH} {{user}}@{{nas}} uptime", 3, 8, 6),
        ),
    ),
    "benign_vpn": (
        "A tunnel of one's own: openvpn to a server outside, idle and used.",
        _benign(
            server(
                "c2",
                "bash -c 'openvpn --genkey secret {room}/vpn.key; exec openvpn --dev tun "
                "--ifconfig 10.54.0.1 10.54.0.2 --secret {room}/vpn.key "
                "--allow-deprecated-insecure-static-crypto --cipher AES-256-CBC --port 1194 "
                "--keepalive 5 30'",
                _LONG,
            ),
            use(
                "laptop",
                "bash -c 'sleep 1; exec openvpn --remote {c2} 1194 --nobind --dev tun "
                "--ifconfig 10.54.0.2 10.54.0.1 --secret {room}/vpn.key "
                "--allow-deprecated-insecure-static-crypto --cipher AES-256-CBC --keepalive 5 "
                "30'",
                2,
            ),
            use("laptop", "curl -s -m 15 -o /dev/null http://10.54.0.1/t4.html", 10, 5, 5),
            use("laptop", "ping -n -c 10 -i 1 10.54.0.1", 14),
            services=("web", "dns", "ssh", "c2"),
        ),
    ),
    "benign_ssh_work": (
        "Long SSH sessions: someone types, someone watches a log, someone forwards a port.",
        _benign(
            use(
                "admin",
                'bash -c \'(for w in id ls df uptime date "ls -l /usr/bin" env; do echo $w; '
                f"sleep 3; done) | {_SSH} {{user}}@{{nas}} sh'",
                2,
            ),
            use(
                "laptop",
                f"{_SSH} {{user}}@{{nas}} 'for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do "
                "date; sleep 2; done'",
                3,
            ),
            use(
                "phone",
                f"bash -c '{_SSH} -N -L 9000:127.0.0.1:80 {{user}}@{{nas}} & sleep 3; for n in 0"
                " 1 2 3 4; do curl -s -o /dev/null http://127.0.0.1:9000/t$n.html; sleep 3; "
                "done; kill $!'",
                4,
            ),
        ),
    ),
    "benign_names": (
        "Names looked up by the dozen: texts, mail servers, long names, wrong ones.",
        _benign(
            lookups("phone", times=10, every=4),
            use("laptop", "dig @{c2} +tries=1 +time=1 www.news.example", 2, 2, 5),
            use(
                "admin",
                "dig +tries=1 TXT www.news.example MX mail.example ANY shop.example NS example",
                3,
                6,
                5,
            ),
            use(
                "camera",
                "dig +tries=1 AAAA "
                "2f1a99c07d5e4bd2a1.cdn-edge-cache-01.eu-west.assets.shop.example",
                3,
                8,
                4,
            ),
            use(
                "laptop",
                "bash -c 'for n in $(seq 40); do echo a$n.img.news.example; done | xargs dig "
                "+short +tries=1'",
                5,
                3,
                9,
            ),
        ),
    ),
    "benign_icmp": (
        "Pings of many sizes and a watch over several hosts.",
        _benign(
            use("admin", "fping -q -l -c 25 -p 1000 {nas} {web} {laptop} {gateway}", 2),
            use("laptop", "ping -n -c 20 -i 1 -s 1200 {web}", 3),
            use("phone", "ping -n -c 60 -i 0.2 -s 56 {nas}", 4),
            use("camera", "ping -n -c 8 -i 4 {c2}", 5),
        ),
    ),
}
