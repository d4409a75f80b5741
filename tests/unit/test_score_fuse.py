"""Findings are told once, kept fresh, and turned into verdicts."""

from dataclasses import replace

import pytest

from fortress.qsecbit.fuse import (
    AGAIN_S,
    ALARM,
    BACKGROUND_WEIGHT,
    LOCAL_WEIGHT,
    MOST_PARTS,
    REMOTE_WEIGHT,
    Fuse,
    FuseSettings,
    weight,
)
from fortress.qsecbit.places import Places
from fortress.verdict import Action, Finding, Layer, Source
from tests.unit.test_score_arithmetic import finding

SECOND = 1_000_000_000


def _told(fuse: Fuse, ns: int, *found: Finding, lone: float = 1.0) -> int:
    return len(fuse.add(ns, [(one, lone) for one in found]))


def test_a_finding_that_repeats_is_told_once_and_stays_fresh() -> None:
    fuse = Fuse()
    assert _told(fuse, 0, finding()) == 1
    for second in range(1, 100):
        assert _told(fuse, second * SECOND, finding()) == 0
    (part,) = fuse.parts(99 * SECOND)
    assert part.p == pytest.approx(0.6)


def test_a_finding_is_told_again_when_its_risk_has_risen() -> None:
    fuse = Fuse()
    assert _told(fuse, 0, finding(severity=0.9, confidence=0.5)) == 1
    assert _told(fuse, 1, finding(severity=0.9, confidence=0.7)) == 0
    assert _told(fuse, 2, finding(severity=0.9, confidence=0.73)) == 1


def test_a_notice_that_becomes_an_alarm_is_told_however_little_it_rose() -> None:
    fuse = Fuse()
    assert _told(fuse, 0, finding(confidence=(ALARM - 0.01) / 0.6)) == 1
    assert _told(fuse, 1, finding(confidence=(ALARM + 0.01) / 0.6)) == 1


def test_a_finding_that_goes_on_is_told_every_ten_minutes() -> None:
    fuse = Fuse()
    told = sum(_told(fuse, second * SECOND, finding()) for second in range(0, 3600, 10))
    assert told == 3600 // AGAIN_S


def test_targets_are_separate_findings() -> None:
    fuse = Fuse()
    assert _told(fuse, 0, finding(target="10.0.0.1"), finding(target="10.0.0.2")) == 2


def test_a_finding_below_watch_is_forgotten() -> None:
    fuse = Fuse()
    assert _told(fuse, 0, finding(confidence=0.1)) == 0
    assert fuse.parts(0) == []


def test_a_finding_decays_and_is_dropped() -> None:
    fuse = Fuse(FuseSettings(tau_s=10))
    _told(fuse, 0, finding())
    assert fuse.parts(10 * SECOND)[0].p == pytest.approx(0.6 / 2.718281828, rel=1e-6)
    assert fuse.parts(1000 * SECOND) == []
    assert len(fuse) == 0


def test_a_lone_detector_stays_a_notice_until_another_accuses_the_host() -> None:
    fuse = Fuse()
    (alone,) = fuse.add(0, [(finding(detector="beaconing"), 0.39)])
    assert alone.risk <= 0.39
    fuse.add(1, [(finding("10.0.0.8"), 1.0)])  # somebody else does not matter
    assert fuse.add(2, [(finding(detector="beaconing"), 0.39)]) == ()
    fuse.add(3, [(finding(), 1.0)])
    (joined,) = fuse.add(4, [(finding(detector="beaconing"), 0.39)])
    assert joined.risk == pytest.approx(0.6)


def test_a_device_that_calls_many_services_by_the_clock_is_no_worse_than_one() -> None:
    fuse = Fuse()
    calls = [finding(detector="beaconing", target=f"203.0.113.{i}") for i in range(1, 9)]
    assert len(fuse.add(0, [(call, 0.39) for call in calls])) == 8
    (part,) = fuse.parts(0)
    assert part.p <= 0.39
    assert [verdict.action for verdict in fuse.verdicts(0, [part])] == [Action.WATCH]


def test_a_house_of_devices_that_call_home_by_the_clock_is_no_worse_than_one_of_them() -> None:
    fuse = Fuse()
    calls = [(finding(f"10.0.0.{i}", detector="beaconing"), 0.39) for i in range(1, 9)]
    assert len(fuse.add(0, calls)) == 8
    (part,) = fuse.parts(0)
    assert part.p <= 0.39
    fuse.add(1, [(finding("10.0.0.3"), 1.0)])
    hosts = [part.finding.host for part in fuse.parts(1)]
    assert sorted(hosts)[1:] == ["10.0.0.3", "10.0.0.3"], "beside what else accuses it, it counts"


def test_a_heap_of_notices_never_blocks() -> None:
    fuse = Fuse()
    _told(fuse, 0, *(finding(confidence=0.6, target=f"10.0.0.{i}") for i in range(1, 9)))
    (verdict,) = fuse.verdicts(0, fuse.parts(0))
    assert verdict.action is Action.LIMIT


@pytest.mark.parametrize(
    ("risk", "host", "action"),
    [
        (0.25, "198.51.100.7", Action.WATCH),
        (0.45, "198.51.100.7", Action.LIMIT),
        (0.60, "198.51.100.7", Action.BLOCK),
        (0.90, "198.51.100.7", Action.BLOCK),
        (0.90, "10.0.0.9", Action.QUARANTINE),
    ],
)
def test_the_verdict_follows_the_risk(risk: float, host: str, action: Action) -> None:
    fuse = Fuse()
    _told(fuse, 0, finding(host, severity=1.0, confidence=risk))
    (verdict,) = fuse.verdicts(0, fuse.parts(0))
    assert verdict.action is action
    assert verdict.until_ns > 0
    assert verdict.signatures == (1101,)


@pytest.mark.parametrize(
    ("host", "mac", "target", "kind"),
    [
        ("198.51.100.7", "02:00:00:00:00:01", "198.51.100.7", "address"),
        ("2001:db8:1:2::7", "02:00:00:00:00:01", "2001:db8:1:2::/64", "prefix"),
        ("10.0.0.9", "02:00:00:00:00:01", "02:00:00:00:00:01", "mac"),
        ("10.0.0.9", "", "10.0.0.9", "address"),
        ("02:00:00:00:00:07", "", "02:00:00:00:00:07", "mac"),
    ],
)
def test_devices_are_blocked_by_mac_and_strangers_by_address(
    host: str, mac: str, target: str, kind: str
) -> None:
    fuse = Fuse()
    _told(fuse, 0, finding(host, src_mac=mac))
    (verdict,) = fuse.verdicts(0, fuse.parts(0))
    assert (verdict.target, verdict.target_kind) == (target, kind)


def test_nobody_is_blocked_by_the_gateways_mac_unless_it_lies_on_the_link_itself() -> None:
    places = Places()
    places.learn([], [0x02_00_00_00_00_FE])
    for layer, target in ((Layer.L4, "10.0.0.9"), (Layer.L2, "02:00:00:00:00:fe")):
        fuse = Fuse(places=places)
        _told(fuse, 0, finding("10.0.0.9", src_mac="02:00:00:00:00:fe", layer=layer))
        assert fuse.verdicts(0, fuse.parts(0))[0].target == target


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "ff02::1", "224.0.0.5"])
def test_who_has_no_address_of_its_own_is_named_by_mac_or_not_at_all(host: str) -> None:
    fuse = Fuse()
    _told(fuse, 0, finding(host, target="255.255.255.255"))
    assert fuse.verdicts(0, fuse.parts(0)) == ()
    _told(fuse, 1, finding(host, target="255.255.255.255", src_mac="02:00:00:00:00:07"))
    assert fuse.verdicts(1, fuse.parts(1))[0].target == "02:00:00:00:00:07"


def test_a_model_alone_limits_and_never_blocks_unless_the_operator_says_so() -> None:
    for allowed, action in ((False, Action.LIMIT), (True, Action.BLOCK)):
        fuse = Fuse(FuseSettings(model_may_block=allowed))
        _told(fuse, 0, finding("198.51.100.7", Source.MODEL, severity=0.9))
        (verdict,) = fuse.verdicts(0, fuse.parts(0))
        assert verdict.action is action


def test_a_victim_gets_no_verdict() -> None:
    fuse = Fuse()
    _told(fuse, 0, finding("10.0.0.1", target="10.0.0.1", severity=0.9))
    assert fuse.verdicts(0, fuse.parts(0)) == ()


def test_a_verdict_is_told_once_and_renewed_when_half_of_its_time_has_gone() -> None:
    fuse, told = Fuse(), []
    for second in range(0, 1000, 10):
        fuse.add(second * SECOND, [(finding("198.51.100.7"), 1.0)])
        told += [
            (second, v.action) for v in fuse.verdicts(second * SECOND, fuse.parts(second * SECOND))
        ]
    assert told == [(0, Action.BLOCK), (450, Action.BLOCK), (900, Action.BLOCK)]


def test_a_verdict_names_the_finding_that_brought_it() -> None:
    fuse = Fuse()
    scan = finding(
        host="10.0.0.9", detector="port_scan", reason="a scan", severity=0.6, confidence=1
    )
    guess = replace(scan, detector="password_guess", reason="guesses", severity=0.55)

    def why(second: int, *found: Finding) -> list[tuple[Action, str]]:
        fuse.add(second * SECOND, [(one, 1.0) for one in found])
        verdicts = fuse.verdicts(second * SECOND, fuse.parts(second * SECOND))
        return [(verdict.action, verdict.why.split(": ")[1]) for verdict in verdicts]

    assert why(0, scan) == [(Action.BLOCK, "a scan")]
    assert why(1, scan, guess) == [(Action.QUARANTINE, "guesses (and 1 more)")]


def test_a_weaker_reason_does_not_soften_a_verdict_that_still_holds() -> None:
    fuse = Fuse()
    _told(fuse, 0, finding("198.51.100.7"))
    fuse.verdicts(0, fuse.parts(0))
    later = 200 * SECOND
    assert fuse.verdicts(later, fuse.parts(later)) == ()


def test_how_much_a_host_matters() -> None:
    stranger = finding("198.51.100.7", evidence={"fine": 0})
    knocked = finding("198.51.100.7", evidence={"fine": 2})
    flood = finding("198.51.100.7", technique="T1499.001", evidence={})
    assert weight(finding("10.0.0.9"), Places()) == LOCAL_WEIGHT
    assert weight(stranger, Places()) == BACKGROUND_WEIGHT
    assert weight(knocked, Places()) == weight(flood, Places()) == REMOTE_WEIGHT


def test_what_is_local() -> None:
    places = Places()
    assert all(map(places.is_local, ("10.1.2.3", "192.168.0.1", "fe80::1", "fd00::1")))
    assert places.is_local("02:00:00:00:00:01")
    assert not any(map(places.is_local, ("8.8.8.8", "2a00:1450::1")))
    places.learn([0x2A00_1450_0000_0000], [])
    assert places.is_local("2a00:1450::1")
    assert not places.is_local("2a00:1450:0:1::1")


def test_findings_are_bounded_and_the_least_goes_first() -> None:
    fuse = Fuse()
    _told(fuse, 0, finding("10.9.9.9", confidence=0.4))
    for i in range(MOST_PARTS + 5):
        _told(fuse, 1, finding(f"10.0.{i // 250}.{i % 250}", target="10.0.0.1"))
    assert len(fuse) == MOST_PARTS
    assert fuse.overflows == 6
    assert "10.9.9.9" not in {part.finding.host for part in fuse.parts(1)}
