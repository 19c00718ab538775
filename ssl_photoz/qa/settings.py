"""Which checks a cutout must pass, and how strictly. docs/qa.md explains each."""

from __future__ import annotations

from dataclasses import dataclass

from ssl_photoz.core.errors import ConfigError

CHECKS = {
    "unusable": "pixels that cannot be used, or a position off the sky",
    "repeated_id": "the id of an earlier row",
    "repeated_position": "an earlier row lies closer than {repeat_arcsec:g} arcsec",
    "blank": "zero pixels, or lines of one value, as many as {blank_lines:g} whole lines",
    "saturated": "a plateau of {plateau_px} bright pixels, or a catalogue that says so",
    "shred_peak": "the light in the middle is the flank of something {peak_ratio:g} times as "
    "bright, at least {peak_arcsec:g} arcsec away",
    "shred_entry": "a brighter entry within {entry_radii:g} of its half-light radii",
    "star": "|z| < {star_z:g}, or classed as a star",
    "absurd_label": "a redshift that is infinite, below {least_z:g} or above {greatest_z:g}",
    "not_positive": "a redshift of zero or less: kept, without a label",
    "overlapping": "another row's centre lies within the side of a cutout",
}
"""Every check and what it flags, the gravest first."""
REJECTING = tuple(name for name in CHECKS if name not in ("not_positive", "overlapping"))


@dataclass(frozen=True)
class CheckConfig:
    """Thresholds of the checks.

    Attributes:
        repeat_arcsec: Rows closer than this are one object.
        blank_lines: Blank pixels that a cutout may not have, in rows of the cutout.
        plateau_px: Pixels within 1 % of the greatest that make a plateau; in 8-bit pictures,
            pixels at the top of the scale.
        plateau_nmgy: Brightness from which a plateau counts, nanomaggies per pixel of 0.262 arcsec.
        peak_arcsec: Least distance of the brighter peak from the middle.
        peak_ratio: Least brightness of that peak over that of the middle.
        entry_radii: Half-light radii of a brighter entry within which others are its shreds.
        star_z: Redshifts closer to zero than this are of stars.
        least_z: Lowest redshift that is believed.
        greatest_z: Highest redshift that is believed.
    """

    repeat_arcsec: float = 1.0
    blank_lines: float = 1.0
    plateau_px: int = 16
    plateau_nmgy: float = 1.0
    peak_arcsec: float = 2.0
    peak_ratio: float = 1.5
    entry_radii: float = 2.0
    star_z: float = 0.001
    least_z: float = -0.01
    greatest_z: float = 2.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "least_z" and not value > 0:
                raise ConfigError(f"{name} is {value}, expected more than zero")
        if not self.least_z < self.greatest_z:
            raise ConfigError(f"least_z is {self.least_z}, greatest_z {self.greatest_z}")


def require_checks(names: tuple[str, ...]) -> None:
    """Refuse names that are no checks.

    Raises:
        ConfigError: If there is one.
    """
    if unknown := sorted(set(names) - set(CHECKS)):
        raise ConfigError(f"no check {unknown[0]!r}; checks are {', '.join(CHECKS)}")
