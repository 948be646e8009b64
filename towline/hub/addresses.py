"""Where a hub listens, and under which names others reach it. Pure."""

from __future__ import annotations

from towline.hub.config import HubConfig


def split(address: str) -> tuple[str, int]:
    """HOST:PORT."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def advertised(config: HubConfig) -> list[str]:
    """Where others reach this hub: what was given, else the API's own host (a wildcard is no address to dial)."""
    if config.advertise:
        return list(config.advertise)
    host = split(config.api_address)[0]
    return ["127.0.0.1" if host in ("0.0.0.0", "::", "") else host]


def api_url(config: HubConfig) -> str:
    return f"https://{joined(advertised(config)[0], split(config.api_address)[1])}"


def server_names(config: HubConfig) -> list[str]:
    hosts = [
        split(config.api_address)[0],
        split(config.gateway_address)[0],
        *advertised(config),
        "localhost",
        "127.0.0.1",
    ]
    return [host for host in dict.fromkeys(hosts) if host not in ("0.0.0.0", "::", "")]
