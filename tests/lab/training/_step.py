"""Steps of captures for training: one real tool at work, labelled by what it is."""

from tests.lab.scenario import Scenario, Step, Truth

Named = tuple[str, Scenario]
_TECHNIQUES = {
    "scan": "T1046",
    "guess": "T1110.001",
    "flood": "T1499.002",
    "web": "T1595.003",
    "tunnel": "T1572",
    "c2": "T1071",
}
_ANY = (*range(256), -2, -9, -15)  # a tool that found nothing, or was stopped, may say so
OPTIONS = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o PubkeyAuthentication=no"


def attack(
    kind: str, tool: str, actor: str, victim: str, command: str, seconds: float = 60, at: float = 2
) -> Step:
    """A tool that one host aims at another (or at a network): all it sends there is the attack.

    A tool that is still at it after ``seconds`` is stopped; its exit status says nothing, for many
    of these tools end with an error when they found nothing.
    """
    where = f"dst net {victim}" if "/" in victim else f"dst host {{{victim}}}"
    return Step(
        actor,
        f"timeout -s INT -k 5 {seconds:g} {command}",
        at=at,
        seconds=seconds + 20,
        exits=_ANY,
        truth=Truth(
            detector="",
            technique=_TECHNIQUES[kind],
            note=command.split(" -")[0],
            packets=f"src host {{{actor}}} and {where}",
            src=actor,
            dst=victim,
            kind=kind,
            tool=tool,
        ),
    )


def server(actor: str, command: str, seconds: float) -> Step:
    """The far end of a tool, for as long as the scenario needs it."""
    return Step(
        actor,
        f"timeout -k 2 {seconds:g} {command}",
        seconds=seconds + 10,
        exits=_ANY,
    )


def use(actor: str, command: str, at: float, times: int = 1, every: float = 0.0) -> Step:
    """Something that a host does, whatever comes of it; at most 40 s."""
    words = f"timeout -k 2 40 {command}"
    return Step(actor, words, at, 50, times, every, jitter=0.4 if every else 0.0, exits=_ANY)


def scenario(*steps: Step, services: tuple[str, ...] = ("web", "dns", "ssh")) -> Scenario:
    """A recording of these steps; payloads are cut after what entropies are computed from."""
    return Scenario(
        steps=steps, max_seconds=300, max_packets=100_000, snaplen=200, services=services
    )
