"""What users are told when something goes wrong: one sentence and a next step, never a traceback."""

from __future__ import annotations

import errno
import ssl
from typing import IO, Any

import click

DEBUG_STEP = "Run it again as `towline --debug …` to see where that happened."


class Failure(click.ClickException):
    """Something that the user can act on: what happened, in one sentence, and what to do next."""

    def __init__(self, sentence: str, next_step: str = "") -> None:
        super().__init__(f"{sentence} {next_step}".strip())

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"towline: {self.message}", file=file, err=file is None)


class Misuse(Failure):
    """A flag or a setting that cannot be meant."""

    exit_code = 2


def explain(error: BaseException) -> Failure:
    """What to tell of an exception that nobody turned into a sentence yet."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Failure):
        return error
    if isinstance(error, OSError):
        return _explain_system(error)
    words = str(error).strip() or type(error).__name__
    next_step = getattr(error, "next_step", "")  # the agent's and the hub's own errors know theirs
    return Failure(_sentence(words), next_step or DEBUG_STEP)


def _explain_system(error: OSError) -> Failure:
    where = f" ({error.filename})" if error.filename else ""
    words = _sentence(f"{error.strerror or error}{where}")
    if error.errno == errno.EADDRINUSE:
        return Failure(words, "Stop what listens there, or choose another address.")
    if isinstance(error, ssl.SSLError):
        return Failure(f"TLS failed: {words}", "Check that the kubeconfig belongs to this hub.")
    if isinstance(error, PermissionError):
        return Failure(words, "Run it as a user who may, or choose another --data-dir.")
    if isinstance(error, FileNotFoundError):
        return Failure(words, "Check the path.")
    if isinstance(error, ConnectionError):
        return Failure(words, "Check that it runs and that the address is right.")
    return Failure(words, DEBUG_STEP)


def _sentence(words: str) -> str:
    if words.partition(" ")[0].isalpha():  # no path, no name of something
        words = words[:1].upper() + words[1:]
    return words if words.endswith((".", "!", "?", "…")) else f"{words}."
