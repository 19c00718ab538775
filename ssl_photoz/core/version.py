"""The version of this package; cards, pages and requests state it."""

__version__ = "0.1.0"
