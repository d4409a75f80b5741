# SPDX-License-Identifier: Apache-2.0
"""The card of `host-anomaly`: what it is worth on real days, and what it cannot do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2

from fortress.features import host
from fortress.inference.host_baseline import CAPACITY, DAYS, FEWEST, GROWTH, SAMPLE, STEP

if TYPE_CHECKING:
    from fortress.training.host_anomaly import Study


def write_card(
    name: str, version: str, study: Study, size_bytes: int, texts: Mapping[str, str]
) -> str:
    """The card as Markdown; `texts` are its curves as text, by the name of the picture."""
    curves = _curves(texts)
    sections = (_head(name, version, study, size_bytes), _worth(study), _attacks(study), curves)
    return "\n".join((*sections, _poison(study), _limits(), _data(study)))


def _head(name: str, version: str, study: Study, size_bytes: int) -> str:
    return f"""# {name} {version}

Says how unusual a minute of a device is for that device: {len(host.FEATURES)} features of what it
does, with whom, how much and how often in vain, as distances from the device's own median in its
own spreads (MAD), whitened by what goes together on typical devices, and their root mean square.
How rare such a surprise is comes from the device's own last {DAYS} days. Nothing of it is learnt
from attacks but the translation of rarity into risk. Graph: {size_bytes} bytes. Written by
`fortress model train {name}`; every number here comes from that run.

It is silent about a device until that has {DAYS} days with {FEWEST} or more active minutes each. A
minute counts as an alarm from a rarity of 10^-{study.least} on (risk {study.risk:.2f} where one of
1,000 minutes holds an attack): picked so that a device active in every minute gives one false
alarm in five days, with the measured excess of rare minutes ({study.inflation:.1f} times what
rarity says, upper end of 95 %) taken into account.
"""


def _worth(study: Study) -> str:
    days = sum(one.days for one in study.asked)
    low, high = study.false.interval
    alarms = study.false.hits
    fewest = chi2.ppf(0.025, 2 * alarms) / 2 if alarms else 0.0
    most = chi2.ppf(0.975, 2 * alarms + 2) / 2
    rows = []
    for one in study.asked:
        cells = [f"{int((one.rarity >= x).sum())}" for x in (2, 3, study.least)]
        rows.append((one.device, len(one.rarity), f"{one.days:.2f}", *cells))
    head = ("device", "minutes judged", "days", "rarer than 10^-2", "10^-3", "alarms")
    return f"""## False alarms

Each device is judged by what the others taught (typical spreads, directions, tail): it learns the
first half of its own active minutes as if they were {DAYS} days and is asked about the rest.

{_table(head, rows)}

{alarms} of {study.false.total} minutes without an attack were alarms: {low:.1e} to {high:.1e}
(95 %, Clopper–Pearson, minutes taken for independent). In {days:.2f} device-days that is
{fewest:.1f} to {most:.1f} alarms (95 %, Poisson), {most / days:.1f} a device and day at most: **the
data is too short to prove the aim of 0.2.** A minute that is rare in 1,000 should come once.
"""


def _attacks(study: Study) -> str:
    tools = sorted({(hit.kind, hit.tool) for hit in study.hits})
    rows = []
    for kind, tool in tools:
        hits = [hit for hit in study.hits if (hit.kind, hit.tool) == (kind, tool)]
        minutes = np.concatenate([hit.rarity for hit in hits])
        seen = np.mean([(hit.rarity >= study.least).any() for hit in hits])
        rows.append((kind, tool, len(minutes), f"{(minutes >= study.least).mean():.2f}",
                     f"{seen:.2f}"))  # fmt: skip
    by_kind = []
    for kind in sorted({kind for kind, _ in tools}):
        shares = [[float(cell) for cell in row[3:]] for row in rows if row[0] == kind]
        minutes_found, found = np.mean(shares, axis=0)
        by_kind.append((kind, len(shares), f"{minutes_found:.2f}", f"{found:.2f}"))
    overall = np.mean([[float(cell) for cell in row[3:]] for row in rows], axis=0)
    return f"""## Attacks laid over real days

Real attacks of other captures, laid over the judged half of each device's day at several times as
if the device had done them. *Found* means an alarm in any minute of it; of tools that one recording
shows, "0.33" is one device of three. Never learnt from but for the table of risks.

{_table(("kind", "tools", "minutes that are alarms", "found"), by_kind)}

All tools alike: {overall[0]:.2f} of the minutes, {overall[1]:.2f} found.

{_table(("kind", "tool", "minutes", "minutes that are alarms", "found"), rows)}
"""


def _curves(texts: Mapping[str, str]) -> str:
    parts = "\n".join(
        f"[{name.replace('_', ' ')}](figures/{name}.png)\n\n```\n{text}```\n"
        for name, text in texts.items()
    )
    return f"""## Curves

Minutes of attacks and minutes without, half each (a home has far fewer of the former); tools alike.

{parts}"""


def _poison(study: Study) -> str:
    lines = []
    for growth, told in study.poison.items():
        minute = next((day for day, share, _ in told if share >= 0.05), None)
        daily = next((day for day, _, shift in told if shift >= study.shift), None)
        by_minute = f"day {minute} (×{growth**minute:,.0f})" if minute else f"none of {len(told)}"
        by_day = f"day {daily} (×{growth**daily:,.0f})" if daily else f"none of {len(told)}"
        lines.append(
            f"- **{growth - 1:.0%} more each day**: seen by the day's median on {by_day}; one "
            f"minute in twenty is an alarm on {by_minute}."
        )
    text = "\n".join(lines)
    shifts = ", ".join(f"{one.device} {one.shift:.2f}" for one in study.asked)
    return f"""## A patient attacker

Each day counts for a seventh of the baseline at most; once set, the centre moves by at most {STEP}
spreads a day and the spread by {GROWTH - 1:.0%}; minutes judged an attack teach nothing. A day on
which the median of bytes or packets lies {study.shift} spreads or more above the first centre,
which stays, makes every minute of the next an alarm (risk at the threshold): half as much again
as any seventh of the judged minutes of a clean device showed ({shifts}). An attacker
who sends a little more each day, in every minute in which the device is active
(`{study.devices[0].name}`, its own minutes drawn anew):

{text}

Bytes are spread over decades on an ordinary computer, so a multiple of the usual volume alone is
seen late; a new habit (other ports, many peers, failures) is seen at once.
"""


def _limits() -> str:
    return f"""## What it cannot do

- **Judge in the first {DAYS} days**, or a device that is rarely on; it knows {CAPACITY} devices.
- **See what is small and ordinary**: a shell or a DNS tunnel that moves a few kilobytes a minute
  disappears in an office computer's minutes; it shows on a quiet device.
- **Know hours**: no feature tells the time of day; no data here holds several days of a device to
  judge that on.
- **Tell a new habit from an attack**: a new game console is unusual, too. A finding blocks nothing
  alone, and `forget` has learning begin anew for a device.
- **Be poisoned in a day**; over weeks it can be led (above).
- **Hold for homes**: three devices, {SAMPLE} minutes kept a day, no phone, no television.
- Zeek's logs count a flow in the minute it began, the live agent in every minute it lasts.
"""


def _data(study: Study) -> str:
    return f"""## Data

Devices: two office computers of 24 hours each (CTU-Normal-40 and -42 of stratosphereips'
security-datasets-for-testing, 008 and 010, GPL-2.0) without the scans that reached them from the
Internet, and the quiet hours of IoT-23's camera 34-1 (CC BY 4.0); together
{sum(len(device) for device in study.devices)} flows. Digest of the logs
`{study.digest[:16]}`. Attacks: IoT-23 34-1, CTU's nmap and NjRAT logs, the shared attack and tunnel
captures, the laboratory's samples and what `./dev lab record training` left in `.cache/lab`. None
is redistributed here. Another origin than the training data's cannot be shown with three devices of
two projects; leaving one device out is what there is.
"""


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    names = tuple(head)
    lines: list[Iterable[object]] = [names, ("---",) * len(names), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
