"""Options and steps that several commands share: settings from a file, logging, the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import re
import resource
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import click

from towline.cli.failures import Misuse

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])
PathParam = click.Path(path_type=Path)
LEVELS = ("debug", "info", "warning", "error")


class Seconds(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A time as kubectl and karmadactl take it, 90s, 30m, 24h or 7d; a bare number is seconds."""

    name = "time"
    _units: ClassVar = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd]?)", str(value))
        if match is None:
            self.fail(f"{value!r} is not a time; write it like 90s, 30m, 24h or 7d.", param, ctx)
        return float(match[1]) * self._units[match[2]]


def config_option(function: AnyCommand) -> AnyCommand:
    """`--config FILE`: a YAML mapping of this command's flags, at the top or under the command's name."""
    return click.option(
        "--config",
        type=PathParam,
        is_eager=True,
        expose_value=False,
        callback=_load_settings,
        metavar="FILE",
        help="A YAML file with these flags, as `data-dir: …`, at the top or under the command's name.",
    )(function)


def kubeconfig_option(function: AnyCommand) -> AnyCommand:
    """`--kubeconfig FILE` of an administrator of the hub."""
    return click.option(
        "--kubeconfig",
        type=PathParam,
        metavar="FILE",
        help="Of the hub: the admin.kubeconfig in its data directory. Default: $KUBECONFIG, ~/.kube/config.",
    )(function)


def namespace_option(function: AnyCommand) -> AnyCommand:
    """`-n NAMESPACE`."""
    return click.option(
        "-n", "--namespace", default="", help="The namespace. Default: that of the kubeconfig, or default."
    )(function)


def output_option(function: AnyCommand) -> AnyCommand:
    """`-o text|json|yaml`."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(("text", "json", "yaml")),
        default="text",
        show_default=True,
        help="For people, or whole for programs.",
    )(function)


def show(answer: Any, output: str, text: Callable[[], str]) -> None:
    """Print an answer of the API in the form that was asked for."""
    if output == "json":
        click.echo(json.dumps(answer, indent=2))
    elif output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(answer, sort_keys=False), nl=False)
    else:
        click.echo(text(), nl=False)


def serve(start: Callable[[], Coroutine[Any, Any, None]], level: str) -> None:
    """Runs a composition root on uvloop until it ends, with logging to stderr."""
    import uvloop

    context = click.get_current_context()
    debug = bool(context.find_root().params.get("debug"))
    logging.basicConfig(
        level="DEBUG" if debug else level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    _tighten_heap()
    _open_many_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(start())


def _tighten_heap() -> None:
    """One arena, trimmed early: glibc would keep one for each of gRPC's threads, and what a burst took for ever. Saves 4
    MiB of a hub; Python's threads take turns anyway. It also keeps what is larger than 128 KiB from being used again, so hot
    paths allocate less at once (api/answers.py)."""
    arena_max, trim_threshold = -8, -1  # M_ARENA_MAX, M_TRIM_THRESHOLD of malloc.h
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(arena_max, 1)
        libc.mallopt(trim_threshold, 64 * 1024)


def _open_many_files() -> None:
    """Shells allow 1024 open files where the system allows more; each watch is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _load_settings(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    if value is None:
        return
    import yaml

    try:
        content = yaml.safe_load(value.read_text()) or {}
    except OSError as error:
        raise Misuse(
            f"The settings in {value} cannot be read: {error.strerror}.", "Check --config."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        told = " ".join(str(error).split())
        raise Misuse(f"{value} is not YAML: {told}.", "Correct it.") from None
    name = context.info_name or ""
    if isinstance(content, dict) and isinstance(content.get(name), dict):
        content = content[name]
    if not isinstance(content, dict):
        raise Misuse(f"{value} is not a mapping of flags.", "Write lines like `data-dir: /var/lib/towline`.")
    flags = {
        flag.lstrip("-").replace("-", "_"): p
        for p in context.command.params
        if isinstance(p, click.Option) and p.name != "config"
        for flag in p.opts
        if flag.startswith("--")
    }
    settings = {str(key).replace("-", "_"): setting for key, setting in content.items()}
    unknown = sorted(set(settings) - set(flags))
    if unknown:
        known = ", ".join(sorted(flag.replace("_", "-") for flag in flags))
        raise Misuse(
            f"{value} sets {', '.join(unknown)}, which `towline {name}` does not know.", f"It knows {known}."
        )
    context.default_map = {
        **(context.default_map or {}),
        **dict(_setting(flags[k], v) for k, v in settings.items()),
    }


def _setting(option: click.Option, value: Any) -> tuple[str, Any]:
    """One value may stand where a flag is repeatable."""
    many = option.multiple and not isinstance(value, list)
    return str(option.name), [value] if many else value
