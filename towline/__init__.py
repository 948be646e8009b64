"""Towline runs applications across many Kubernetes clusters. See ARCHITECTURE.md for the house."""

__version__ = "0.1.0"
