# SPDX-License-Identifier: Apache-2.0
"""The kernel's side of device policies: owns two tables `fortress_devices`, there while needed."""

from __future__ import annotations

from fortress.respond import device_rules
from fortress.respond.device_rules import MARKER, TABLE, Lan, Restricted
from fortress.respond.libnftables import Nft, NftError
from fortress.respond.nft_state import NftState, refuse_foreign_tables


class DeviceTables:
    """Makes both tables enforce policies; each call is one transaction."""

    def __init__(self) -> None:
        self._nft: Nft | None = None
        self._state: NftState
        self._made: tuple[tuple[Restricted, ...], Lan] | None = None
        self._egress = True
        self.troubles: list[str] = []

    def enforce(self, devices: tuple[Restricted, ...], lan: Lan) -> None:
        """Policies hold for these devices and no others; GuardError when the kernel refuses."""
        if self._made == (devices, lan):
            return
        try:
            nft, state = self._opened()
        except NftError as error:
            if devices:
                raise
            self.troubles = [f"no device policy can hold: {error}"]
            self._made = (devices, lan)
            return
        if self._made is not None and self._made[0] and devices and self._made[1] == lan:
            nft.run(device_rules.changed(devices, lan))
        else:
            refuse_foreign_tables(state, TABLE, MARKER)
            self._rebuild(nft, devices, lan)
        self._made = (devices, lan)

    def forget(self) -> None:
        """Somebody may have changed the tables: the next time they are made anew."""
        self._made = None

    def close(self, *, keep: bool) -> None:
        """Let go of the library; remove both tables unless they are to be kept."""
        if self._nft is None:
            return
        try:
            if not keep:
                refuse_foreign_tables(self._state, TABLE, MARKER)
                self._nft.run(device_rules.removed())
        finally:
            self._nft.close()
            self._state.close()
            self._nft = None

    def _rebuild(self, nft: Nft, devices: tuple[Restricted, ...], lan: Lan) -> None:
        try:
            nft.run(device_rules.rebuilt(devices, lan, egress=self._egress))
        except NftError:
            if not (devices and lan.ports and self._egress):
                raise
            nft.run(device_rules.rebuilt(devices, lan, egress=False))
            self._egress = False
            self.troubles.append(
                "no egress hook (Linux 5.16): frames that the gateway sends a device are judged by"
                " its addresses alone"
            )

    def _opened(self) -> tuple[Nft, NftState]:
        if self._nft is None:
            self._nft, self._state = Nft(), NftState()
        return self._nft, self._state
