# SPDX-License-Identifier: Apache-2.0
"""The card of `host-anomaly`: what it is worth on real days, and what it cannot do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from fortress.features import host
from fortress.inference.host_baseline import CAPACITY, DAYS, FEWEST, GROWTH, SAMPLE, STEP
from fortress.training.evaluate import poisson
from fortress.training.host_study import REACH
from fortress.training.summary import Summary, at_a_glance

if TYPE_CHECKING:
    from fortress.training.host_anomaly import Study


def write_card(
    name: str, version: str, study: Study, size_bytes: int, texts: Mapping[str, str]
) -> str:
    """The card as Markdown; `texts` are its curves as text, by the name of the picture."""
    curves = _curves(texts)
    head = (_head(name, version, study, size_bytes), at_a_glance(_summary(study, size_bytes)))
    sections = (_worth(study), _attacks(study), curves, _poison(study), _limits())
    return "\n".join((*head, *sections, _hindsight(), _data(study)))


def _summary(study: Study, size_bytes: int) -> Summary:
    false, minutes = study.false, sum(len(hit.rarity) for hit in study.hits)
    low, high = false.interval
    days = sum(one.days for one in study.asked)
    fewest, most = (bound / days for bound in poisson(false.hits))
    camera = next(one for one in study.asked if one.device.startswith("iot"))
    alarms = int((camera.rarity >= study.least).sum())
    shares = _by_kind(study)
    minute, found = _overall(study)
    return Summary(
        data="Zeek logs of three devices: two of stratosphereips' security-datasets-for-testing "
        "(GPL-2.0), one of IoT-23 (CC BY 4.0); attacks of the shared captures and our laboratory; "
        f"digest `{study.digest}`",
        split="by device: each is judged by what the others taught; its own first half of minutes "
        "is learnt, the other judged",
        base_rate=f"{minutes:,} of {minutes + false.total:,} judged minutes hold an attack, laid "
        "over them; a risk is stated for one minute in a thousand",
        pr_auc=f"{study.pr_auc:.3f} (minutes of attacks half of all, tools alike; 0.5 is chance)",
        recall=f"{found:.2f} of attacks, {minute:.2f} of their minutes, tools alike",
        false_positives=f"{false.hits} of {false.total} minutes ({low:.1e} to {high:.1e})",
        alerts=f"{false.hits / days:.1f} ({fewest:.1f} to {most:.1f}, Poisson) in {days:.2f} "
        "device-days; the aim of 0.2 is not proved",
        other_origin=f"IoT-23's camera, judged by two office computers of another project: "
        f"{alarms} of {len(camera.rarity)} clean minutes are alarms; the office computers "
        "have each other among their teachers",
        by_class="found: " + "; ".join(f"{kind} {one[1]:.2f}" for kind, one in shares.items()),
        weak_spots="silent for seven days; small and ordinary doings (a shell, a DNS tunnel) on a "
        "busy device; led by who is patient for weeks",
        hindsight="REACH was moved from 12 to 20 on held-out scores: see Hindsight",
        latency=f"{study.latency_us:.0f} µs for one device's minute (graph alone, CPU time, on the "
        "machine that trained)",
        size=f"{size_bytes / 1000:.1f} kB",
    )


def _shares(study: Study) -> dict[tuple[str, str], tuple[int, float, float]]:
    """Of each kind and tool: its minutes, the share that are alarms, the share of attacks found."""
    result = {}
    for key in sorted({(hit.kind, hit.tool) for hit in study.hits}):
        hits = [hit for hit in study.hits if (hit.kind, hit.tool) == key]
        minutes = np.concatenate([hit.rarity for hit in hits]) >= study.least
        seen = [bool((hit.rarity >= study.least).any()) for hit in hits]
        result[key] = (len(minutes), float(minutes.mean()), float(np.mean(seen)))
    return result


def _by_kind(study: Study) -> dict[str, tuple[float, float, int]]:
    """Of each kind: the share of minutes and of attacks found, tools alike, and how many tools."""
    told: dict[str, list[tuple[float, float]]] = {}
    for (kind, _), (_, minute, found) in _shares(study).items():
        told.setdefault(kind, []).append((minute, found))
    return {
        kind: (
            float(np.mean([a for a, _ in some])),
            float(np.mean([b for _, b in some])),
            len(some),
        )
        for kind, some in told.items()
    }


def _overall(study: Study) -> tuple[float, float]:
    """The share of minutes and of attacks found, all tools alike."""
    told = [(minute, found) for _, minute, found in _shares(study).values()]
    minute, found = np.mean(told, axis=0).tolist()
    return minute, found


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
    fewest, most = poisson(alarms)
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
    rows = [
        (kind, tool, count, f"{minute:.2f}", f"{found:.2f}")
        for (kind, tool), (count, minute, found) in _shares(study).items()
    ]
    by_kind = [
        (kind, count, f"{minute:.2f}", f"{found:.2f}")
        for kind, (minute, found, count) in _by_kind(study).items()
    ]
    overall = _overall(study)
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


def _hindsight() -> str:
    return f"""## Hindsight

The distance beyond which further away is no more unusual (`REACH`) was moved from 12 to {REACH:.0f}
spreads because the held-out scores of these very devices and attacks were better so; features, the
distance and its whitening were chosen while looking at them, too. Three devices are all there is:
the figures above are of the data that they were chosen on. Expect less elsewhere.
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
