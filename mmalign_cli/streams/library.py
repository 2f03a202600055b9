"""Libraries that read a format: what they raise and say becomes one refusal."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mmalign_cli.errors import InputError, MmalignError


@contextmanager
def by_library(label: str, subject: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into one refusal, and hush its warnings.

    Raises
    ------
    InputError
        Naming the format and what the library said.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MmalignError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  a parser raises anything on a damaged file
        said = str(error).strip().splitlines()
        why = f": {said[0][:120]}" if said else f" ({type(error).__name__})"
        raise InputError(subject, f"is not {label}, or damaged{why}") from None


class _Ear(logging.Handler):
    """Keeps the first line of every message."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage().partition("\n")[0])


@contextmanager
def heard(name: str) -> Iterator[list[str]]:
    """Keep a library's log off standard error; yield the list that its messages go to."""
    logger, ear = logging.getLogger(name), _Ear()
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(ear)
    try:
        yield ear.said
    finally:
        logger.removeHandler(ear)
        logger.propagate = propagates
