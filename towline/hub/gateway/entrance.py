"""Who gets in: TLS that demands a client certificate of our CA, and which cluster an agent is, as its certificate alone says."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from towline.certs.authority import (
    CertificateError,
    Leaf,
    agent_identity,
    ends_at,
    issuer_of,
    public_key_of_request,
)
from towline.hub.gateway import farewell
from towline.hub.gateway.farewell import CLUSTERS
from towline.hub.gateway.metrics import GatewayMetrics
from towline.hub.gateway.revocation import generation_of
from towline.hub.gateway.surroundings import Clusters, Shown, Surroundings
from towline.kube.objects import Key, Object, uid_of
from towline.proto import fleet_pb2 as fleet

REVOKED = "the certificates of cluster {} were revoked; join it again with a new token, from `towline join`"


def cluster_of(clusters: Clusters, name: str) -> Object | None:
    row = clusters.get(Key(*CLUSTERS, "", name))
    return row.object if row is not None else None


class Entrance:
    """Every refusal is audited."""

    def __init__(self, given: Surroundings, metrics: GatewayMetrics) -> None:
        self._given = given
        self._metrics = metrics
        self._tls_shown: tuple[Leaf, bytes] | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """What the server listens with; asks at every handshake for what is to be shown and trusted."""
        return grpc.dynamic_ssl_server_credentials(
            self._shown_now(),
            self._changed,  # type: ignore[arg-type]  # None stands for no change, which the stubs do not know
            require_client_authentication=True,
        )

    async def identity(self, context: Any, *, detached: bool = False) -> Shown:
        """Who the agent is; aborts for a cluster that is not (or no more) joined with this certificate. `detached`: one of a cluster
        that was detached is welcome too."""
        pem = b"".join(context.auth_context().get("x509_pem_cert", ()))
        try:
            identity = agent_identity(pem)
        except CertificateError as error:
            await self._refuse(context, "", str(error))
        cluster, gone = cluster_of(self._given.clusters, identity.cluster), None
        if cluster is None or uid_of(cluster) != identity.cluster_object_uid:
            gone = farewell.detached(self._given.clusters, identity) if detached else None
            if gone is None:
                message = f"cluster {identity.cluster} is not joined with this certificate; join it again with a new token, from `towline join`"
                await self._refuse(context, identity.cluster, message)
        elif identity.generation != generation_of(self._given.clusters, cluster):
            await self._refuse(context, identity.cluster, REVOKED.format(identity.cluster))
        issuer = issuer_of(pem)
        if not self._given.certificates.vouches_for(issuer):  # a connection may be older than what is trusted
            await self._refuse(
                context, identity.cluster, "the certificate's authority is not trusted any more"
            )
        return Shown(identity, ends_at(pem), issuer, detached=gone)

    async def _refuse(self, context: Any, cluster: str, message: str) -> NoReturn:
        self.audit(context, cluster, message)
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, message)
        raise AssertionError("abort raises")

    def audit(self, context: Any, cluster: str, message: str) -> None:
        self._metrics.refused.inc()
        self._given.audit(
            {
                "verb": "session",
                "cluster": cluster,
                "decision": "refused",
                "message": message,
                "peer": context.peer(),
            }
        )

    async def renew(self, request: bytes, context: Any) -> bytes:
        identity = (await self.identity(context)).identity
        try:
            public_key = public_key_of_request(fleet.RenewRequest.FromString(request).csr_pem)
        except (DecodeError, CertificateError) as error:
            self.audit(context, identity.cluster, f"renewal: {error}")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        certificates = self._given.certificates
        certificate = certificates.issue_agent(identity, public_key, self._given.now())
        self._given.audit({"verb": "renew", "cluster": identity.cluster, "decision": "granted"})
        answer = fleet.RenewResponse(certificate_pem=certificate, ca_bundle_pem=certificates.bundle_pem)
        return answer.SerializeToString()

    def _shown_now(self) -> grpc.ServerCertificateConfiguration:
        self._tls_shown = leaf, bundle_pem = (
            self._given.certificates.leaf,
            self._given.certificates.bundle_pem,
        )
        chain = (leaf.key_pem, leaf.certificate_pem)
        return grpc.ssl_server_certificate_configuration([chain], root_certificates=bundle_pem)

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked before every handshake; None: nothing has changed. grpc frees what it used until now as soon as it gets another,
        while handshakes in other threads still use it: answered each time, a few hundred agents at once end the process."""
        certificates = self._given.certificates
        return None if self._tls_shown == (certificates.leaf, certificates.bundle_pem) else self._shown_now()
