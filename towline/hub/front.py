"""The face of a hub: its API server, with what hangs on it: certificates, the administrator's kubeconfig, enrolment."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from towline.certs import kubeconfig, tls
from towline.hub import addresses
from towline.hub.api.authentication import certificates_and_tokens
from towline.hub.api.authorization import Rbac
from towline.hub.api.escalation import Escalation
from towline.hub.api.hints import AgentInHub, WaitingExit
from towline.hub.api.local import Local
from towline.hub.api.membership import OneClusterAMember
from towline.hub.api.metrics import Metrics
from towline.hub.api.oidc import OidcIssuer
from towline.hub.api.placements import Placements
from towline.hub.api.protection import DeletionProtection
from towline.hub.api.server import ApiServer
from towline.hub.api.tokens import Keys, ServiceAccountTokens
from towline.hub.api.webhooks import Webhooks
from towline.hub.audit import AuditLog
from towline.hub.config import HubConfig
from towline.hub.controllers.loop import Loop
from towline.hub.decide.moving import Holds
from towline.hub.gateway.enrolment import Answer, Enrolment
from towline.hub.peers import Peers
from towline.hub.routes import routes
from towline.hub.shared_keys import SharedKeys
from towline.hub.store.cache import Cache
from towline.hub.store.view import FleetView
from towline.hub.store.works import WorkTable
from towline.hub.store.workview import WorkView
from towline.hub.trust import Trust
from towline.kube.kinds import KindTable
from towline.kube.objects import Key, Object

log = logging.getLogger(__name__)


class Front:
    """`start` it last: whoever gets in finds everything there. `now` is epoch seconds, `elapsed` only goes forward."""

    def __init__(
        self, config: HubConfig, trust: Trust, clusters: Callable[[float], list[Object]], peers: Peers, keys: Keys,
        cache: Cache, kinds: KindTable, works: WorkTable, view: WorkView, audit: AuditLog, metrics: Metrics, placing: FleetView,
        controllers: Loop, holds: Callable[[Key, float], Holds], connected: Callable[[str], bool], parting: Callable[[Any], Answer], questions: Callable[[Any], Awaitable[Answer]],
        *, now: Callable[[], float], elapsed: Callable[[], float], new_uid: Callable[[], str],
    ) -> None:  # fmt: skip
        self._config = config
        self._trust = trust
        self._host, port = addresses.split(config.api_address)
        self._port = port
        self._advertised = addresses.advertised(config)
        self._tls = tls.ChangingTls(trust.bundle_pem, trust.leaf, config.data_dir / "pki" / "server.pem")
        self.kubeconfig = config.data_dir / "admin.kubeconfig"
        enrolment = Enrolment(
            authority=trust,
            store=cache,
            clusters=_Clusters(self, cache),
            apis=peers.apis,
            gateways=peers.gateways,
            catch_up=peers.catch_up,
            audit=audit,
            now=now,
        )
        self._rbac = Rbac(cache)
        self._webhooks = Webhooks(cache, kinds, now=now, new_uid=new_uid)
        self.url = url = addresses.api_url(config)
        tokens = ServiceAccountTokens(
            cache,
            keys,
            issuer=config.service_account_issuer or (keys.issuer if isinstance(keys, SharedKeys) else url),
            audiences=config.api_audiences,
            seconds_max=config.service_account_max_token_seconds,
            now=now,
            new_uid=new_uid,
        )
        reviews = Placements(
            cache, self._rbac, view=placing.at, recorded=controllers.recorded, holds=holds, now=now
        )
        oidc = config.oidc
        others = [OidcIssuer(oidc, now=now, elapsed=elapsed).verify] if oidc is not None else []
        self.server = ApiServer(
            cache=cache,
            kinds=kinds,
            sources={("work.karmada.io", "works"): view},
            refusals={("work.karmada.io", "works"): view.refuse},
            authenticate=certificates_and_tokens(tokens.verify, *others),
            authorize=self._rbac,
            audit=audit,
            now=now,
            new_uid=new_uid,
            extra_routes=routes(enrolment, trust, lambda: clusters(now()), self._rbac, parting, questions),
            ready=lambda: (
                "this hub is cut off from its store"
                if peers.is_cut_off
                else ""
                if works.synced
                else "the Works are not computed yet"
            ),
            metrics=metrics,
            plugins=(
                DeletionProtection(),
                WaitingExit(connected),
                AgentInHub(),
                OneClusterAMember(cache),
                Escalation(self._rbac),
                self._webhooks,
            ),
            actions={**tokens.actions(others), **reviews.actions()},
            documents=tokens.documents(url),
            cleans_namespaces=False,  # members' copies go first: hub/decide/namespaces
        )

    async def start(self) -> str:
        """Listens, and writes the administrator's kubeconfig; answers the API's URL."""
        self._rbac.start()
        self._webhooks.start()
        await Local(self.server.engine).ensure_roles()
        await self.server.start(self._host, self._port, self._tls.context)
        self._trust.tell(self._certificates_changed)
        self._show_certificates()
        return self.url

    async def stop(self) -> None:
        await self.server.stop()
        await self._webhooks.stop()
        self._rbac.stop()

    def _certificates_changed(self) -> None:
        try:
            self._show_certificates()
        except (
            OSError
        ) as error:  # of the files that they go through; a hub that runs goes on with what it has
            log.error("the certificates of the API could not be changed: %s", error)

    def _show_certificates(self) -> None:
        self._tls.show(self._trust.bundle_pem, self._trust.leaf)
        self._write_kubeconfig()

    def _write_kubeconfig(self) -> None:
        """Made at the first start. Made again only when it no longer fits, because people copy it."""
        bundle_pem, issuer = self._trust.bundle_pem, self._trust.issuing_key_id
        if kubeconfig.fits(self.kubeconfig, self.url, bundle_pem, issuer):
            return
        config = kubeconfig.admin_kubeconfig(self.url, bundle_pem, self._trust.issue_admin())
        kubeconfig.write(self.kubeconfig, config)


class _Clusters:
    """Cluster objects for enrolment, written through the API's admission."""

    def __init__(self, front: Front, cache: Cache) -> None:
        self._front = front
        self._cache = cache

    def get(self, name: str) -> Object | None:
        return self._cache.snapshot.get(Key("cluster.karmada.io", "clusters", "", name))

    def list(self) -> Sequence[Object]:
        return self._cache.snapshot.list("cluster.karmada.io", "clusters")

    async def write(self, obj: Object) -> Object:
        return await Local(self._front.server.engine).write(obj)
