"""What can go wrong, said so that the reader knows what, where and what to do.

Every error is also the builtin that a caller would expect, so `except ValueError` works.
"""


class OdcBdcError(Exception):
    """Root of all errors that odc_bdc raises on purpose."""


class InvalidValueError(OdcBdcError, ValueError):
    """A value given by the user is not allowed; the message says which and what is."""


class UnknownNameError(OdcBdcError, LookupError):
    """A name is not known; the message lists the known ones."""


class SceneError(OdcBdcError, OSError):
    """A scene or one of its files cannot be used; the message names it and the reason."""


class DatabaseError(OdcBdcError, ConnectionError):
    """The index cannot be reached, made or used; the message says what to do."""


class MissingDependencyError(OdcBdcError, ImportError):
    """An optional package or a program of the system is missing; the message says how to get it."""
