"""The guard's keeping of device rules: refusals, schedules, files, without a kernel."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fortress.devices.policy import DeviceRule, Policy, parse_window
from fortress.devices.schedule import BoxZone
from fortress.errors import GuardError
from fortress.respond.answers import GuardEvent
from fortress.respond.audit import Audit
from fortress.respond.device_desk import MOST_RULES, DeviceDesk, Surroundings
from fortress.respond.device_file import DeviceFile
from fortress.respond.device_rules import Lan, Restricted, rebuilt
from fortress.respond.device_tables import DeviceTables
from fortress.respond.judge import Asker
from fortress.respond.ledger import Clocks
from fortress.respond.messages import SetDevices, decode_request, encode_request
from fortress.respond.never_block import NeverBlock, spare
from fortress.respond.plain import Misread

PHONE, TABLET, ROUTER = "02:00:5e:00:77:66", "02:00:5e:00:77:67", "02:00:5e:00:51:01"
OPERATOR, AGENT = Asker(0, 1, operator=True), Asker(999, 2, operator=False)


class Tables(DeviceTables):
    """Tables that remember instead of asking a kernel, and can be told to refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.now: tuple[Restricted, ...] = ()
        self.refuses = False

    def enforce(self, devices: tuple[Restricted, ...], lan: Lan) -> None:
        if self.refuses:
            raise GuardError("nft: no room", "make some")
        self.now = devices


class World:
    """A desk with a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_s = datetime(2026, 11, 23, 12, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
        self.tables = Tables()
        self.events: list[GuardEvent] = []
        self.macs = {"192.168.77.66": PHONE, "fe80::66": PHONE, "198.51.100.1": ROUTER}
        self.spared = [spare(ROUTER, "a default gateway's MAC")]
        self.open()

    def open(self) -> None:
        """The guard begins (again)."""
        audit = Audit(self.folder / "audit.jsonl", lambda: self.now_s)
        clocks = Clocks(lambda: self.now_s, lambda: self.now_s)
        zone = BoxZone(Path("/nowhere"), {"TZ": "Europe/Berlin"})
        file = DeviceFile(self.folder / "devices.json")
        self.desk = DeviceDesk(file, self.tables, audit, clocks, zone)
        self.desk.tell = self.events.append
        self.see()

    def see(self) -> None:
        """The guard looks around."""
        self.desk.see(NeverBlock(self.spared), Surroundings(Lan(), self.macs))

    def put(self, policy: Policy, *windows: str, mac: str = PHONE, **known: object) -> None:
        """An operator sets a policy."""
        spans = tuple(parse_window("paused", one) for one in windows)
        rule = DeviceRule(mac, policy, spans, bool(known.get("forced")))
        self.desk.put(SetDevices((rule,), str(known.get("session", ""))), OPERATOR)

    @property
    def enforced(self) -> dict[str, Policy]:
        """What the kernel was told."""
        return {one.mac: one.policy for one in self.tables.now}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_schedule_is_followed_when_its_time_comes_and_not_looked_at_before(world: World) -> None:
    world.put("lan_only", "daily 21:00-07:00")
    assert world.enforced == {PHONE: "lan_only"}
    changes = []
    for _ in range(5000):
        before = world.enforced
        world.now_s += max(world.desk.due_s(), 0.001)
        world.desk.pass_time()
        if world.enforced != before:
            changes.append(datetime.fromtimestamp(world.now_s, ZoneInfo("Europe/Berlin")))
    told = [f"{one:%H:%M:%S}" for one in changes]
    assert told[:3] == ["21:00:00", "07:00:00", "21:00:00"]


def test_a_clock_that_is_set_back_is_followed(world: World) -> None:
    world.now_s = datetime(2026, 11, 23, 22, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    world.put("full", "daily 21:00-07:00")
    assert world.enforced == {PHONE: "paused"}
    world.now_s -= 2 * 3600
    assert world.desk.due_s() == 0
    world.desk.pass_time()
    assert world.enforced == {}


def test_rules_are_there_again_after_a_restart(world: World) -> None:
    world.put("internet_only", "daily 21:00-07:00")
    world.put("paused", mac=TABLET, forced=True)
    world.put("full", mac=ROUTER)
    before = world.desk.standing()
    world.open()
    assert world.desk.standing() == before
    assert world.enforced == {PHONE: "internet_only", TABLET: "paused"}
    assert [one.rule.mac for one in before.devices] == [PHONE, TABLET], "full needs no rule"


@pytest.mark.parametrize(
    "break_it",
    [
        lambda text: text[:20],
        lambda text: text.replace("lan_only", "everything"),
        lambda text: text.replace('"fortress_devices": 1', '"fortress_devices": 2'),
        lambda text: "[" * 100_000,
    ],
)
def test_a_damaged_file_is_set_aside_and_told(world: World, break_it: Callable[[str], str]) -> None:
    world.put("lan_only")
    file = world.folder / "devices.json"
    file.write_text(break_it(file.read_text()))
    world.open()
    assert world.enforced == {}
    assert "was damaged" in world.desk.troubles[0]
    assert (world.folder / "devices.damaged").exists()


def test_when_the_kernel_refuses_nothing_has_changed(world: World) -> None:
    world.put("lan_only")
    world.tables.refuses = True
    with pytest.raises(GuardError, match="no room"):
        world.put("paused")
    assert [one.rule.policy for one in world.desk.standing().devices] == ["lan_only"]
    kept = json.loads((world.folder / "devices.json").read_text())
    assert [one["policy"] for one in kept["rules"]] == ["lan_only"]


def test_when_the_file_cannot_be_written_nothing_has_changed(world: World) -> None:
    world.put("lan_only")
    (world.folder / "devices.new").mkdir()
    with pytest.raises(GuardError, match=r"devices\.json"):
        world.put("paused")
    assert world.enforced == {PHONE: "lan_only"}


def test_only_operators_may_change_what_devices_reach(world: World) -> None:
    with pytest.raises(GuardError, match="uid 999 pid 2 may not"):
        world.desk.put(SetDevices((DeviceRule(PHONE, "paused"),)), AGENT)
    assert world.enforced == {}


def test_one_rule_that_may_not_be_refuses_all_of_a_request(world: World) -> None:
    rules = (DeviceRule(PHONE, "paused"), DeviceRule(ROUTER, "paused"))
    with pytest.raises(GuardError, match="a default gateway's MAC"):
        world.desk.put(SetDevices(rules), OPERATOR)
    assert world.enforced == {}


@pytest.mark.parametrize("address", ["192.168.77.66", "fe80::66"])
def test_a_session_that_begins_later_holds_the_rule_off_until_it_ends(
    world: World, address: str
) -> None:
    world.put("paused")
    world.spared.append(spare(address, "an operator's SSH session"))
    world.see()
    assert world.enforced == {}
    standing = world.desk.standing().devices[0]
    assert standing.held_off == f"{address}: an operator's SSH session"
    assert (standing.in_force, standing.rule.policy) == ("full", "paused")
    world.put("paused", forced=True)
    assert world.enforced == {PHONE: "paused"}
    world.put("paused", mac=PHONE, forced=True)
    world.spared.pop()
    world.see()
    assert world.enforced == {PHONE: "paused"}


def test_a_device_that_becomes_the_gateway_is_not_cut_off(world: World) -> None:
    world.put("paused", mac=TABLET)
    world.spared.append(spare(TABLET, "a default gateway's MAC"))
    world.see()
    assert world.enforced == {}


def test_rules_are_not_without_number(world: World) -> None:
    macs = [f"02:00:5e:01:{n >> 8:02x}:{n & 255:02x}" for n in range(MOST_RULES + 1)]
    rules = tuple(DeviceRule(mac, "paused") for mac in macs)
    with pytest.raises(GuardError, match=f"{MOST_RULES} can"):
        world.desk.put(SetDevices(rules), OPERATOR)
    world.desk.put(SetDevices(rules[:-1]), OPERATOR)
    assert len(world.enforced) == MOST_RULES
    assert world.events[-1].kind == "device"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"mac": "nonsense", "policy": "paused"}, r"rules.mac|is no MAC"),
        ({"mac": PHONE, "policy": "off"}, "'off' is none of full, internet_only"),
        ({"mac": PHONE, "policy": "full", "windows": [{}]}, "is missing"),
        (
            {
                "mac": PHONE,
                "policy": "full",
                "windows": [
                    {"policy": "paused", "days": [0], "start": 0, "end": 60},
                    {"policy": "paused", "days": [0], "start": 30, "end": 90},
                ],
            },
            "mon 00:00-01:00 and mon 00:30-01:30 overlap",
        ),
        (
            {
                "mac": PHONE,
                "policy": "full",
                "windows": [{"policy": "paused", "days": [7], "start": 0, "end": 60}],
            },
            "days: 0",
        ),
    ],
)
def test_a_malformed_request_names_what_is_wrong(rule: dict[str, object], words: str) -> None:
    text = json.dumps({"verb": "set_devices", "rules": [rule], "session": ""}).encode()
    with pytest.raises(Misread, match=words):
        decode_request(text)


def test_a_request_is_read_as_it_was_written() -> None:
    window = parse_window("lan-only", "fri-sun 22:00-06:00")
    asked = SetDevices((DeviceRule(PHONE, "full", (window,), forced=True),), "192.168.77.66")
    assert decode_request(encode_request(asked)) == asked


def test_two_devices_that_claim_one_address_do_not_break_the_transaction() -> None:
    both = [
        Restricted(PHONE, "paused", ("192.168.77.66",)),
        Restricted(TABLET, "lan_only", ("192.168.77.66", "2001:db8::1")),
    ]
    text = rebuilt(both, Lan(("lan1",), ("192.168.77.1", "fe80::1"), ("192.168.77.0/24",)))
    assert text.count("192.168.77.66 : jump to_paused") == 1
    assert "192.168.77.66 : jump to_lan_only" not in text
