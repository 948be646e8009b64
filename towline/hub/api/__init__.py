"""The Kubernetes API over aiohttp: one engine, driven by the table of kinds.

The same engine serves the hub and each simulated member. It knows no kind by name, except the three whose objects
change the API itself: Namespace, CustomResourceDefinition and the reviews that answer without being stored.

    paths, bodies               what a request asks for, and in which words it wants the answer (pure)
    admission                   names, unknown fields, defaults, validation (pure)
    claims, writes              one commit a request, tried again where the client named no revision
    deletes, scale, reviews     the verbs and subresources with rules of their own
    reads, watching, tables     answers joined from stored bytes
    discovery, openapi          what is served here
    definitions                 the table of kinds follows the CRDs
    cleanup                     what namespaces and CRDs leave behind when they go
    requests                    verbs to functions, without HTTP; local: the hub's own writes
    authentication, status      who asks, and errors
    server                      the listener, limits, metrics
"""
