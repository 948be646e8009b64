"""The hub."""

import os

# TLS 1.3 everywhere, but grpc has no setting for the least version, and reads the ciphers of TLS 1.2 from the environment, once,
# when it is first imported. This one needs an RSA certificate and ours are elliptic, so 1.3 is all that is left to
# agents; the hub's own client connections to others' servers (etcd) are not bound by it.
os.environ.setdefault("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384")
