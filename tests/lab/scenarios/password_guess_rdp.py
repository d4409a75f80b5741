"""hydra guesses the password of a remote desktop with network-level authentication."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import password_guess

SCENARIO = Scenario(
    steps=(password_guess("camera", "rdp", guesses=60, options="-t 4 -W 1").moved(1),),
    max_seconds=120,
    max_packets=20_000,
    snaplen=192,
    services=("web", "dns", "rdp"),
)
