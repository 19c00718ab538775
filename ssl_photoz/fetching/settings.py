"""How a cutout service is asked."""

from __future__ import annotations

from dataclasses import dataclass

from ssl_photoz.core.errors import ConfigError


@dataclass(frozen=True)
class ServiceConfig:
    """Address and manners.

    Attributes:
        url: Of the service, up to the question mark.
        contact: Your e-mail address or page, for those who run the service.
        per_second: Requests per second, at most.
        connections: At the same time.
        tries: Of each cutout.
        timeout_s: Of an answer, to its last byte.
        back_off_s: First wait after a failure; doubles each time.
        longest_wait_s: Longest wait that the service may ask for.
    """

    url: str = "https://www.legacysurvey.org/viewer/fits-cutout"
    contact: str = ""
    per_second: float = 4.0
    connections: int = 2
    tries: int = 6
    timeout_s: float = 60.0
    back_off_s: float = 1.0
    longest_wait_s: float = 600.0

    def __post_init__(self) -> None:
        checks = {
            "url": (self.url.startswith(("http://", "https://")), "http://... or https://..."),
            "contact": (self.contact.isascii() and self.contact.isprintable(), "plain ASCII"),
            "per_second": (0 < self.per_second <= 1000, "above 0, at most 1000"),
            "connections": (1 <= self.connections <= 16, "1 to 16"),
            "tries": (1 <= self.tries <= 100, "1 to 100"),
            "timeout_s": (0 < self.timeout_s <= 3600, "above 0, at most 3600"),
            "back_off_s": (0 < self.back_off_s <= 3600, "above 0, at most 3600"),
            "longest_wait_s": (self.longest_wait_s >= 0, "0 or more"),
        }
        for name, (fits, expected) in checks.items():
            if not fits:
                raise ConfigError(f"service.{name} is {getattr(self, name)!r}, expected {expected}")
