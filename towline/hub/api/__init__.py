"""The Kubernetes API over aiohttp: one engine, driven by the table of kinds.

The same engine serves the hub and each simulated member. It knows no kind by name, except the three whose objects
change the API itself: Namespace, CustomResourceDefinition and the reviews that answer without being stored.

    paths, bodies         what a request asks for, and in which words it wants the answer (pure)
    admission             decode -> names -> defaults -> unknown fields -> strategy -> validation (pure)
    reads, watch, tables  answers joined from stored bytes
    writes, patching      one commit a request, retried where the client named no revision
    discovery, openapi    what is served here
    cleanup               what namespaces and CRDs leave behind when they go
    server                the listener, limits, identities, metrics
"""
