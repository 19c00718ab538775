"""A simulated survey: a cutout file in the challenge's layout, with the truth beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.core.extras import needs
from ssl_photoz.core.threads import usable_cores
from ssl_photoz.core.types import PathLike
from ssl_photoz.simulator.settings import SimulatorConfig

if TYPE_CHECKING:
    from ssl_photoz.cutouts.reader import Cutouts


@needs("simulate")
def simulate(
    out: PathLike = Path("survey.h5"),
    *,
    galaxies: int = 4096,
    simulator: SimulatorConfig = SimulatorConfig(),
    workers: int = 0,
) -> Cutouts:
    """Simulate a survey: galaxies with their true redshifts and masses, as the challenge has them.

        ssl-photoz simulate out=survey.h5 galaxies=20000

    About 200 galaxies per second and core at 64 px; docs/simulated-survey.md says how they are
    made.

    Args:
        out: The HDF5 file to write.
        galaxies: Number of galaxies. Galaxy i is the same in a longer survey.
        simulator: What the survey is like.
        workers: Processes; 0 for one per core that this one may use. The file is the same whatever
            their number. A script that lets it start several calls it below
            ``if __name__ == "__main__":``.

    Returns:
        The cutouts.

    Raises:
        ConfigError: If a setting makes no survey.
        MismatchError: If another file is in the way.
        DataError: If the file cannot be written.
    """
    from ssl_photoz.cutouts.reader import Cutouts
    from ssl_photoz.simulator.survey import write_survey

    if not 1 <= galaxies < 2**32:
        raise ConfigError(f"galaxies = {galaxies!r}, expected at least 1")
    if not 0 <= workers <= 1024:
        raise ConfigError(f"workers = {workers!r}, expected from 0 to 1024")
    out = Path(out)
    made = write_survey(out, simulator, galaxies=galaxies, workers=workers or usable_cores())
    said = "simulated survey in" if made else "the same simulated survey is already in"
    print(f"{said} {out}: {galaxies} galaxies")
    return Cutouts.open(out)
