# SPDX-License-Identifier: Apache-2.0
"""What the machine draws: by RAPL through the powercap reader, else an estimate that is called one.

    with EnergySensor(settings.energy, settings.energy_path()) as sensor:
        while …:
            energy = sensor.poll(packets)      # never waits; packets seen since the start
            …, sensor.state, sensor.reason     # for /status

It is a metric, and a value that drift may look at; its weight in the score is 0 until a study shows
that it tells something.
"""

from __future__ import annotations

import json
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from fortress.config.settings import Energy as Settings

PERIOD_S = 1.0
WINDOW = 60  # averages over which energy is set against packets
SILENCE_S = 5.0  # of the reader, after which it is stale and called again
MOST_BYTES = 64 * 1024  # of a line; the reader's have some hundred

Origin = Literal["rapl", "estimate"]


@dataclass(frozen=True, slots=True)
class Energy:
    """The last second's power, and what was used since the start.

    `source` says whether it was measured. `watts` is packages and memory under RAPL, the whole
    machine in an estimate. `joules_per_million_packets` looks at the last minute and is None when
    no packet was seen in it: there is no such number then.
    """

    source: Origin
    watts: float
    domains: Mapping[str, float]
    joules: float
    joules_per_million_packets: float | None


class EnergySensor:
    """Polls the powercap reader or the processor's load; one source at a time, never both mixed."""

    def __init__(
        self,
        settings: Settings,
        reader: Path | None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state: Literal["live", "stale", "missing"] = "missing"
        self.reason = "switched off: energy.source" if settings.source == "off" else ""
        self.last: Energy | None = None
        self._settings = settings
        self._path = reader if settings.source in ("auto", "rapl") else None
        self._estimates = settings.source in ("auto", "estimate") and settings.busy_watts > 0
        self._monotonic_s = monotonic_s
        self._socket: socket.socket | None = None
        self._rest = b""
        self._heard_s = self._called_s = float("-inf")
        self._looked_s: float | None = None
        self._joules: dict[str, float] = {"rapl": 0.0, "estimate": 0.0}
        self._window: deque[tuple[Origin, float, int]] = deque(maxlen=WINDOW)  # joules, packets
        self._packets = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def poll(self, packets: int) -> Energy | None:
        """What there is to say now; None = nothing is known. `packets` is the agent's total."""
        now_s = self._monotonic_s()
        for seconds, watts, domains in self._heard(now_s):
            self._take("rapl", seconds, watts, domains, packets)
        if self._path is not None and now_s - self._heard_s <= SILENCE_S:
            self.state, self.reason, self._looked_s = "live", "", None
        elif self._estimates:
            self._estimate(now_s, packets)
        elif self._path is not None:
            self.state = "missing" if self._heard_s < 0 else "stale"
            self.reason = f"no word from {self._path}: is `fortress powercap run` running?"
            self.last = None
        return self.last

    def close(self) -> None:
        """Leave the reader."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _take(
        self,
        source: Origin,
        seconds: float,
        watts: float,
        domains: Mapping[str, float],
        packets: int,
    ) -> None:
        self._joules[source] += watts * seconds
        self._window.append((source, watts * seconds, max(packets - self._packets, 0)))
        self._packets = packets
        same = [one for one in self._window if one[0] == source]
        seen = sum(count for _, _, count in same)
        each = sum(joules for _, joules, _ in same) / seen * 1e6 if seen else None
        self.last = Energy(source, watts, domains, self._joules[source], each)

    # ---- the estimate ----

    def _estimate(self, now_s: float, packets: int) -> None:
        import psutil  # not needed where RAPL is

        self.state = "live"
        self.reason = "an estimate from the processor's load: there is no RAPL reader"
        if self._looked_s is not None and now_s - self._looked_s < PERIOD_S:
            return
        share = psutil.cpu_percent(interval=None) / 100  # since the last call
        before_s, self._looked_s = self._looked_s, now_s
        if before_s is None:
            self.last = None  # psutil's first answer means nothing, and the reader's last is old
            return
        idle, busy = self._settings.idle_watts, self._settings.busy_watts
        watts = idle + (busy - idle) * share
        self._take("estimate", now_s - before_s, watts, {"machine": watts}, packets)

    # ---- the reader ----

    def _heard(self, now_s: float) -> list[tuple[float, float, dict[str, float]]]:
        if self._path is None:
            return []
        if self._socket is None and now_s - self._called_s >= SILENCE_S:
            self._called_s = now_s
            self._call(self._path)
        found = []
        for line in self._lines():
            try:
                told = json.loads(line)
                domains = {str(name): float(value) for name, value in told["watts"].items()}
                found.append((float(told["seconds"]), float(told["total"]), domains))
            except (ValueError, TypeError, KeyError, AttributeError):
                self.close()  # whoever that is, it is no reader of ours
                return found
            self._heard_s = now_s
        return found

    def _call(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._rest = b""
        try:
            self._socket.connect(str(path))
        except OSError:  # not there, not allowed, or busy: again later
            self.close()

    def _lines(self) -> list[bytes]:
        if self._socket is None:
            return []
        try:
            heard = self._socket.recv(MOST_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            heard = b""
        *whole, self._rest = (self._rest + heard).split(b"\n")
        if not heard or len(self._rest) > MOST_BYTES:
            self.close()
        return whole
