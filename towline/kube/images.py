"""The name of a container image in its parts: `[registry/]repository[:tag][@digest]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,}")


@dataclass(frozen=True, slots=True)
class Image:
    """`quay.io:443/team/web:v1@sha256:…`; parts that are not there are empty."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        registry = f"{self.registry}/" if self.registry else ""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{registry}{self.repository}{tag}{digest}"


def parse(text: str) -> Image:
    """As container runtimes read it: what stands before the first slash is a registry when it has a dot or a colon, or is
    `localhost`. Raises ValueError for what names no image."""
    name, _, digest = text.partition("@")
    first, slash, rest = name.partition("/")
    registry = first if slash and ("." in first or ":" in first or first == "localhost") else ""
    repository, colon, tag = (rest if registry else name).partition(":")
    if not repository or (colon and not tag) or "/" in tag or any(mark.isspace() for mark in text):
        raise ValueError(f"{text!r} is not the name of an image")
    return Image(registry, repository, tag, digest)


def is_digest(text: str) -> bool:
    """`sha256:…`"""
    return _DIGEST.fullmatch(text) is not None
