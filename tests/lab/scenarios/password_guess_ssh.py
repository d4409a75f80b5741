"""hydra guesses an SSH password on the NAS, four at a time."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import password_guess
from tests.lab.scenarios._everyday import login

SCENARIO = Scenario(
    steps=(
        login("admin", times=2, every=10),
        password_guess("camera", "ssh", guesses=60).moved(2),
    ),
    max_seconds=160,
    max_packets=20_000,
    snaplen=192,
)
