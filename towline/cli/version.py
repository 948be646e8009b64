"""`towline version`."""

from __future__ import annotations

import platform

import click

from towline import __version__


@click.command(name="version")
def command() -> None:
    """Print the version."""
    click.echo(f"towline {__version__} (Python {platform.python_version()})")
