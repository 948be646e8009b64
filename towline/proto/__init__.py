"""The session protocol. `fleet.proto`'s comments are its specification; `digest.py` is the arithmetic both sides share."""
