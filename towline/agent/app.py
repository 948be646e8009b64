"""The agent's composition root: starts its parts in order and stops them in reverse.

The only file of the agent that reads the clock, entropy and the environment.
"""

from __future__ import annotations

from towline.agent.config import AgentConfig

__all__ = ["AgentConfig", "run"]


async def run(config: AgentConfig) -> None:
    """Run one agent until SIGTERM or SIGINT."""
    raise NotImplementedError
