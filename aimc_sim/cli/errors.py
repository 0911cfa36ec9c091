"""Bad input is answered with one clear line; anything else is a defect and keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class BadInput(Exception):
    """Input of the user that cannot be used; the text names it, the place and the remedy."""


class Interrupted(Exception):
    """Ctrl-C, after the command has named the results that are safe."""


@contextmanager
def refusing(*kinds: type[Exception], prefix: str = "") -> Iterator[None]:
    """Turn errors that are about the user's input into :class:`BadInput`.

    Parameters
    ----------
    *kinds : exception classes
        Default ValueError, KeyError, TypeError, OSError and RecursionError. Wrap only calls that
        raise them about input: elsewhere they would hide a defect.
    prefix : str
        Put before the message.
    """
    caught = kinds or (ValueError, KeyError, TypeError, OSError, RecursionError)
    try:
        yield
    except caught as error:
        # str(KeyError) is the quoted form of its message.
        plain = error.args[0] if isinstance(error, KeyError) and error.args else error
        if isinstance(error, RecursionError):
            plain = "it is nested too deeply"
        raise BadInput(f"{prefix}{plain}") from error
