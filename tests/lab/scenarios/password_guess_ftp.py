"""hydra guesses an FTP password on the NAS, four at a time."""

from tests.lab.scenario import Scenario
from tests.lab.scenarios._attacks import password_guess

SCENARIO = Scenario(
    steps=(password_guess("camera", "ftp", guesses=60).moved(1),),
    max_seconds=160,
    max_packets=20_000,
    services=("web", "dns", "ftp"),
)
