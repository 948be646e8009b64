"""`towline uncordon`: see `cordon`."""

from __future__ import annotations

from towline.cli.cordon import cordoning

command = cordoning("uncordon", False, "Let clusters have new work again that `towline cordon` kept away.")
