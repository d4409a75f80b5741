# SPDX-License-Identifier: Apache-2.0
"""MACs and names in one form; what devices say of themselves is never trusted to be text."""

from __future__ import annotations

import re
import unicodedata

MOST_NAME = 64
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_GROUP, _LOCAL = 0x01, 0x02  # bits of the first octet (IEEE 802, 8.2.2)


def parse_mac(text: str) -> str:
    """The MAC as six lower-case octets with colons; ValueError says what is wrong.

    Dashes, dots after each four digits and no marks at all are taken as well.
    """
    word = text.strip().lower()
    if not _MAC.fullmatch(word):
        digits = word.replace("-", "").replace(":", "").replace(".", "")
        if not re.fullmatch(r"[0-9a-f]{12}", digits):
            raise ValueError(f"{shown(text)} is no MAC (six octets such as 02:00:5e:10:00:01)")
        word = ":".join(digits[at : at + 2] for at in range(0, 12, 2))
    if int(word[:2], 16) & _GROUP:
        raise ValueError(f"{word} is a group's MAC, not a device's")
    if word == "00:00:00:00:00:00":
        raise ValueError(f"{word} is no device's MAC")
    return word


def mac_of(octets: bytes) -> str:
    """The MAC of six octets as text; ValueError where they are no single device's."""
    if len(octets) != 6 or octets[0] & _GROUP or not any(octets):
        raise ValueError("no MAC of a device")
    return octets.hex(":")


def is_randomized(mac: str) -> bool:
    """Whether a MAC is locally administered: made up by the device, not given by a maker."""
    return bool(int(mac[:2], 16) & _LOCAL)


def clean(text: str, most: int = MOST_NAME) -> str:
    """The text without what does not print, in composed form, cut to `most` characters.

    Control characters, line ends, direction marks and lone surrogates become spaces; runs of
    spaces become one.
    """
    kept = "".join(one if one.isprintable() else " " for one in text[: 4 * most])
    return " ".join(unicodedata.normalize("NFC", kept).split())[:most].rstrip()


def parse_name(text: str) -> str:
    """A name that an operator gives, unchanged; ValueError says what is wrong with it."""
    word = text.strip()
    if not word:
        raise ValueError("a name has at least one character")
    if len(word) > MOST_NAME:
        raise ValueError(f"a name has at most {MOST_NAME} characters, this has {len(word)}")
    if not word.isprintable():
        raise ValueError(f"{shown(text)} has characters that do not print")
    return word


def shown(text: str) -> str:
    """The text as it may be printed in a message, shortened."""
    return ascii(text if len(text) <= 64 else text[:61] + "...")
