"""The hub."""

import os

# TLS 1.3 for agents: grpc has no setting for the least version, and reads the ciphers of TLS 1.2 from the environment, once,
# when it is first imported. The one left here needs an RSA certificate and ours are elliptic, so only 1.3 remains. It holds for
# the whole process, so an etcd that offers nothing above 1.2 has to have an RSA certificate.
os.environ.setdefault("GRPC_SSL_CIPHER_SUITES", "ECDHE-RSA-AES256-GCM-SHA384")

# Without it grpc writes a line for each handshake that fails, which anybody may cause as often as they like.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
