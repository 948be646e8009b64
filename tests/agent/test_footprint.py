"""What an agent costs at rest: pinned here, because it hangs on how kubernetes_asyncio is imported."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from towline.agent.kubernetes import BadConfiguration, Member

_PROBE = """
import asyncio, sys
from pathlib import Path
import towline.agent.app
from towline.agent.kubernetes import Member, BadConfiguration

async def main():
    try:
        await Member(Path("/nonexistent"), "", 1.0).open()
    except BadConfiguration:
        pass
    from kubernetes_asyncio.config.kube_config import load_kube_config
    from kubernetes_asyncio.config.incluster_config import load_incluster_config
    from kubernetes_asyncio.client import ApiClient, Configuration

asyncio.run(main())
ours = [m for m in sys.modules if m.startswith("kubernetes_asyncio")]
kilobytes = int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0])
print(len(ours), len([m for m in ours if ".models." in m]), "aiohttp.web" in sys.modules, kilobytes)
"""


def test_kubernetes_asyncio_is_used_without_its_models() -> None:
    output = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True, timeout=30
    ).stdout
    modules, models, server, kilobytes = output.split()
    assert int(modules) < 30, "1,299 modules when its packages are imported as they are"
    assert models == "0"
    assert server == "False", "an agent without a health port has no HTTP server"
    assert int(kilobytes) < 75_000


async def test_a_kubeconfig_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "kubeconfig"
    broken.write_text("{]")
    for path in (tmp_path / "missing", broken):
        member = Member(path, "", 1.0)
        with pytest.raises(BadConfiguration, match=str(path)) as caught:
            await member.open()
        assert "--kubeconfig" in caught.value.next_step
        await member.close()
    assert asyncio.get_running_loop().is_running()
