"""The authorities of a hub while one takes over from another, as values: who signs what, whom to trust, what comes next.

    STEADY     one authority signs everything and is what is trusted
    SPREADING  another one is there and signs nothing yet; agents learn to trust both
    RENEWING   it signs what clients show; the hub goes on showing the old one's, which those who have not heard of the
               new one still trust
    STEADY     the new one signs everything, the old one is not trusted any more

The first step is an administrator's. The second is taken as soon as all agents trust both; the third when no
certificate needs the old one any more, or when an administrator says so. Each is one change of one value, so that a
hub may stop and start at any of them. Times are epoch seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from towline.certs.authority import AGENT_SECONDS, AgentIdentity, Authority, CertificateError, Leaf, of_pem

NEVER_ENDS = 1e18
_CANNOT_READ = "the authorities in the store"


class Stage(enum.Enum):
    STEADY = "Steady"
    SPREADING = "Spreading"
    RENEWING = "Renewing"


@dataclass(frozen=True, slots=True)
class Holder:
    """What an agent showed when it connected last: the authorities that it trusts (fingerprints), the `key_id` of the one
    that signed its certificate, and when that ends."""

    trusts: frozenset[str]
    issuer: str
    ends: float


@dataclass(frozen=True, slots=True)
class Authorities:
    """`current` signs what the hub shows. `needed_until`: until when a client's certificate may need it, known when its successor
    has begun to sign."""

    current: Authority
    incoming: Authority | None = None
    stage: Stage = Stage.STEADY
    needed_until: float = NEVER_ENDS

    @property
    def issuing(self) -> Authority:
        """Signs what clients show."""
        return self.incoming if self.incoming is not None and self.stage is Stage.RENEWING else self.current

    @property
    def trusted(self) -> Sequence[Authority]:
        return (self.current,) if self.incoming is None else (self.current, self.incoming)

    @property
    def bundle_pem(self) -> bytes:
        """What to trust; what the hub shows is by the first."""
        return b"".join(each.bundle_pem for each in self.trusted)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of those to trust: what a join token holds, so that one that was made in a rotation outlives it."""
        return tuple(each.fingerprint for each in self.trusted)

    def vouches_for(self, issuer: str) -> bool:
        """Whether certificates are good that the authority with this `key_id` signed."""
        return any(each.key_id == issuer for each in self.trusted)

    def issue_server(self, hosts: Sequence[str], now: float, days: int) -> Leaf:
        return self.current.issue_server(hosts, now, days)

    def issue_admin(self, now: float, days: int) -> Leaf:
        return self.issuing.issue_admin(now, days)

    def issue_hub(self, hub: str, now: float) -> Leaf:
        return self.issuing.issue_hub(hub, now)

    def issue_agent(
        self,
        identity: AgentIdentity,
        public_key: ec.EllipticCurvePublicKey,
        now: float,
        seconds: int = AGENT_SECONDS,
    ) -> bytes:
        return self.issuing.issue_agent(identity, public_key, now, seconds)


def begun(authorities: Authorities, incoming: Authority) -> Authorities:
    """The rotation to `incoming` begins; nothing changes when one is under way."""
    if authorities.incoming is not None:
        return authorities
    return replace(authorities, incoming=incoming, stage=Stage.SPREADING)


def lagging(authorities: Authorities, holders: Mapping[str, Holder], now: float) -> dict[str, str]:
    """The clusters whose agents keep the next step waiting, and why. One whose certificate has ended does not: it must
    join again in any case."""
    if authorities.incoming is None:
        return {}
    found: dict[str, str] = {}
    for cluster, holder in holders.items():
        if holder.ends <= now:
            continue
        if authorities.incoming.fingerprint not in holder.trusts:
            found[cluster] = "its agent has not heard of the new authority"
        elif authorities.stage is Stage.RENEWING and holder.issuer != authorities.incoming.key_id:
            found[cluster] = "its agent has a certificate of the old authority"
    return found


def advanced(
    authorities: Authorities, holders: Mapping[str, Holder], now: float, client_seconds: float
) -> Authorities:
    """The step that nothing keeps waiting any more; `authorities` itself when there is none. `client_seconds`: how long the
    certificates of clients last that are not in `holders`; from the second step on the old authority signs no more of them."""
    if authorities.incoming is None or lagging(authorities, holders, now):
        return authorities
    if authorities.stage is Stage.SPREADING:
        return replace(authorities, stage=Stage.RENEWING, needed_until=now + client_seconds)
    return finished(authorities) if now >= authorities.needed_until else authorities


def finished(authorities: Authorities) -> Authorities:
    """The old authority is dropped, whoever still needs it."""
    return Authorities(authorities.incoming) if authorities.incoming is not None else authorities


# --- as the store has it ---------------------------------------------------------------------------------------


def encode(authorities: Authorities) -> dict[str, Any]:
    spec: dict[str, Any] = {"stage": authorities.stage.value, "current": _encode(authorities.current)}
    if authorities.incoming is not None:
        spec |= {"incoming": _encode(authorities.incoming), "neededUntil": authorities.needed_until}
    return spec


def decode(spec: Mapping[str, Any]) -> Authorities:
    """The inverse of `encode`. Raises CertificateError: what cannot be read is never replaced."""
    try:
        incoming = spec.get("incoming")
        return Authorities(
            _decode(spec["current"]),
            _decode(incoming) if incoming else None,
            Stage(spec["stage"]),
            float(spec.get("neededUntil", NEVER_ENDS)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CertificateError(f"{_CANNOT_READ} cannot be read: {error}") from None


def _encode(authority: Authority) -> dict[str, str]:
    return {"certificate": authority.bundle_pem.decode(), "key": authority.key_pem.decode()}


def _decode(pair: Mapping[str, str]) -> Authority:
    return of_pem(pair["certificate"].encode(), pair["key"].encode(), _CANNOT_READ)
