"""News of sensors are told once."""

from fortress.services.agent.sensors import Sensors
from fortress.services.agent.view import SensorRow


def told(*rows: SensorRow) -> list[str]:
    sensors = Sensors()
    return [notice.message for row in rows for notice in sensors.look(1, [row])]


def test_a_state_that_lasts_is_told_once_whatever_its_words() -> None:
    live = SensorRow("guard", "guard", "live")
    away = [SensorRow("guard", "guard", "stale", why) for why in ("hung up", "refused", "refused")]
    assert told(live, *away, live) == ["guard is stale: hung up", "guard is live"]


def test_what_begins_live_is_no_news_and_what_does_not_is() -> None:
    assert told(SensorRow("eve", "output", "live")) == []
    assert told(SensorRow("guard", "guard", "missing", "none")) == ["guard is missing: none"]


def test_an_interface_tells_each_reason_and_lowers_trust_while_it_is_stale() -> None:
    down = SensorRow("lan0", "capture", "stale", "lan0 is down")
    gone = SensorRow("lan0", "capture", "stale", "lan0 does not exist")
    assert told(down, gone, gone) == [
        "lan0 is stale: lan0 is down",
        "lan0 is stale: lan0 does not exist",
    ]
    sensors = Sensors()
    sensors.look(1, [SensorRow("store", "output", "stale")])
    assert not sensors.any_stale
    sensors.look(2, [down])
    assert sensors.any_stale


def test_a_conntrack_that_is_not_read_lowers_trust_until_it_is() -> None:
    sensors = Sensors()
    for state in ("missing", "stale"):
        sensors.look(1, [SensorRow("conntrack", "conntrack", state, "who may not ask")])
        assert sensors.any_stale
    sensors.look(2, [SensorRow("conntrack", "conntrack", "live")])
    assert not sensors.any_stale
