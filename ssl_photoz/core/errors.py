"""Errors that a user can act on: what was got, what was expected, what to do."""


class SslPhotozError(Exception):
    """Base of all errors that the command line prints as one line, without a traceback."""


class ConfigError(SslPhotozError):
    """A setting is unknown, of the wrong type, or contradicts another."""


class DataError(SslPhotozError):
    """A cutout file or a catalogue cannot be used."""


class ShapeError(SslPhotozError, ValueError):
    """An array's shape is not the documented one."""


class ArtefactError(SslPhotozError):
    """An artefact folder is missing, unfinished or damaged."""


class MismatchError(ArtefactError):
    """Two artefacts do not belong together; the message names both sides."""


class TrainingError(SslPhotozError):
    """Training cannot go on: the loss is not finite, or the embedding has collapsed."""


class ContaminatedError(SslPhotozError):
    """A redshift that is to be predicted has been, or would be, learnt from."""
