"""The commands that the README and docs/ print exist, with the flags that they give them."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from towline.cli.main import COMMANDS, cli

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
DOCS = [README, *(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))]
_COMMAND = re.compile(r"towline (?!…|\.\.\.)[^`|)\n]*")
_INNER = re.compile(r"\$\(([^)]*)\)")
_CODE = re.compile(r"```[a-z]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)


def printed(*texts: str) -> list[str]:
    """Every `towline …` in code, without what a comment says."""
    found: list[str] = []
    for block, word in _CODE.findall("\n".join(texts)):
        for line in (block or word).splitlines():
            line = line.partition(" #")[0]
            for text in (*_INNER.findall(line), _INNER.sub("TOKEN", line)):
                found += [command.strip() for command in _COMMAND.findall(text)]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("line", printed(*DOCS))
def test_the_command_is_there(line: str) -> None:
    _, name, *words = line.split()
    assert name in COMMANDS, line
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    if isinstance(command, click.Group) and words:
        command, words = command.commands[words[0]], words[1:]
    known = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
    flags = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert flags <= known


def test_the_readme_names_every_command() -> None:
    assert {line.split()[1] for line in printed(README)} == set(COMMANDS) - {"version"}
