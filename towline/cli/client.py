"""A small Kubernetes client for the command line: one kubeconfig, JSON over HTTPS, watches as line iterators.

Only the standard library, so that commands that ask the hub one question start in no time.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import ssl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from towline.cli.failures import Failure

TIMEOUT_SECONDS = 30.0
AWAY_SECONDS = 1.0
"""Between two looks at a server that went away."""
_OF_HUBS = ("/towline/", "/apis/towline.io/", "/apis/cluster.karmada.io/")
_NO_SUCH_PATH = ("the server could not find the requested resource", "404 page not found")


class Refused(Failure):
    """The API answered with a Status of failure."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"The API refused: {message or reason or code}", "")
        self.code = code
        self.reason = reason


class Client:
    """Talks to one API server. A request opens a connection if there is none; not for several threads."""

    def __init__(self, server: str, tls: ssl.SSLContext, token: str = "", namespace: str = "") -> None:
        self.server = server
        self.namespace = namespace or "default"
        """The one that the kubeconfig's context names."""
        self.authority_pem = b""
        """Whom the kubeconfig trusts; empty: whom the system does."""
        self.certificate_pem = b""
        """What the kubeconfig shows; empty: no certificate."""
        self._tls = tls
        self._headers = {"Accept": "application/json", "User-Agent": "towline"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: http.client.HTTPSConnection | None = None

    @classmethod
    def from_kubeconfig(cls, path: Path | None) -> Client:
        """The current context of `path`, else of $KUBECONFIG, else of ~/.kube/config."""
        path = path or _default_path()
        try:
            return _client_of(_read(path), path)
        except (KeyError, TypeError, StopIteration, ValueError, ssl.SSLError):
            next_step = "Use the admin.kubeconfig that `towline hub` wrote."
            raise Failure(f"{path} is not a kubeconfig that can be used.", next_step) from None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def get(self, path: str, accept: str = "") -> Any:
        return self.request("GET", path, accept=accept)

    def create(self, path: str, obj: Any) -> Any:
        return self.request("POST", path, obj)

    def merge(self, path: str, patch: Any) -> Any:
        return self.request("PATCH", path, patch, "application/merge-patch+json")

    def apply(self, path: str, obj: Any) -> Any:
        """Server-side apply."""
        return self.request(
            "PATCH", f"{path}?fieldManager=towline-cli&force=true", obj, "application/apply-patch+yaml"
        )

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "",
    ) -> Any:
        """The parsed answer. Raises Refused for a failure Status, Failure when the server cannot be reached."""
        fresh = self._connection is None
        try:
            answer = self._send(method, path, body, content_type, accept=accept)
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not fresh:  # the server may have closed a connection that idled
                return self.request(method, path, body, content_type, accept)
            raise self._unreachable(error) from None
        if answer.status >= 400:
            raise self._refusal(path, answer.status, content)
        return json.loads(content) if content[:1] in (b"{", b"[", b'"') else content.decode()

    def watch(self, path: str) -> Iterator[Any]:
        """Events of a watch, until the server ends it, or goes away, or `close` is called. When it went away, a moment passes: whoever
        goes on watching finds it when it is back."""
        try:
            answer = self._send("GET", path, None, "", timeout=None)
            if answer.status >= 400:
                raise self._refusal(path, answer.status, answer.read())
            while line := answer.readline():
                yield json.loads(line)
        except (OSError, http.client.HTTPException, AttributeError, ValueError):
            if self._connection is None:
                return  # closed under us
            self.close()
            time.sleep(AWAY_SECONDS)

    def close(self) -> None:
        if self._connection is not None:
            if self._connection.sock is not None:
                try:
                    self._connection.sock.shutdown(2)  # wakes a reader in another thread
                except OSError:
                    pass
            self._connection.close()
            self._connection = None

    def _send(
        self,
        method: str,
        path: str,
        body: Any,
        content_type: str,
        timeout: float | None = TIMEOUT_SECONDS,
        accept: str = "",
    ) -> http.client.HTTPResponse:
        url = urlsplit(self.server)
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                str(url.hostname), url.port or 443, context=self._tls, timeout=timeout
            )
        headers = {**self._headers, **({"Content-Type": content_type} if body is not None else {})}
        if accept:
            headers["Accept"] = accept
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(method, url.path.rstrip("/") + path, data, headers)
        return self._connection.getresponse()

    def _refusal(self, path: str, code: int, content: bytes) -> Failure:
        refused = _refusal(code, content)
        # What a hub lacks it names; another API server does not know the path at all.
        unknown = code == 405 or (code == 404 and any(text in refused.message for text in _NO_SUCH_PATH))
        if unknown and path.startswith(_OF_HUBS):
            told = "Give --kubeconfig DIR/admin.kubeconfig, which `towline hub --data-dir DIR` wrote."
            return Failure(f"{self.server} is not a hub of Towline.", told)
        return refused

    def _unreachable(self, error: Exception) -> Failure:
        if isinstance(error, ssl.SSLError):
            told = f"{self.server} did not accept the certificates of this kubeconfig, or the other way round"
            return Failure(f"{told}: {error.reason or error}.", "Use the kubeconfig of this hub.")
        if isinstance(error, ConnectionRefusedError):
            return Failure(f"Nothing listens at {self.server}.", "Is the hub running?")
        return Failure(f"{self.server} cannot be reached: {error}.", "Is the hub running?")


def _default_path() -> Path:
    for candidate in os.environ.get("KUBECONFIG", "").split(os.pathsep):
        if candidate:
            return Path(candidate)
    return Path.home() / ".kube" / "config"


def _read(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise Failure(
            f"The kubeconfig {path} cannot be read: {error.strerror}.",
            "Give --kubeconfig DIR/admin.kubeconfig, which `towline hub --data-dir DIR` wrote.",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ValueError("not YAML") from None


def _client_of(config: Any, path: Path) -> Client:
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    authority = _content(cluster, "certificate-authority", path)
    tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate, key = _content(user, "client-certificate", path), _content(user, "client-key", path)
    if certificate and key:
        with tempfile.NamedTemporaryFile(
            prefix="towline-"
        ) as pair:  # 0600; ssl reads certificates from files only
            pair.write(certificate + b"\n" + key)
            pair.flush()
            tls.load_cert_chain(pair.name)
    namespace = str(context.get("namespace") or "")
    client = Client(str(cluster["server"]), tls, str(user.get("token") or ""), namespace)
    client.authority_pem, client.certificate_pem = authority, certificate
    return client


def _named(rows: Any, name: str) -> Any:
    return next(row for row in rows if row["name"] == name)


def _content(row: Any, field: str, beside: Path) -> bytes:
    """`FIELD-data`, or the content of the file that FIELD names."""
    if row.get(f"{field}-data"):
        return base64.b64decode(row[f"{field}-data"])
    return (beside.parent / row[field]).read_bytes() if row.get(field) else b""


def _refusal(code: int, content: bytes) -> Refused:
    try:
        status = json.loads(content)
        return Refused(code, str(status.get("reason") or ""), str(status.get("message") or ""))
    except (ValueError, AttributeError):
        return Refused(code, "", content.decode(errors="replace").strip()[:200] or f"HTTP {code}")


@contextlib.contextmanager
def absent(sentence: str, next_step: str) -> Iterator[None]:
    """A 404 to what is asked meanwhile is this failure."""
    try:
        yield
    except Refused as error:
        if error.code == 404:
            raise Failure(sentence, next_step) from None
        raise
