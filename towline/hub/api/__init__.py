"""The Kubernetes API over aiohttp: one engine, driven by the table of kinds.

The same engine serves the hub and each simulated member. It knows no kind by name, except the three whose objects
change the API itself: Namespace, CustomResourceDefinition and the reviews that answer without being stored.

    server, connections         the listener; answers: how they go out
    authentication, tokens, oidc, impersonation    who asks, and as whom
    authorization, escalation   RBAC: who may, and that nobody gives away more than they have
    fairness, asked, metrics    who waits, and what is told of a request afterwards
    requests                    verbs to functions, without HTTP; local: the hub's own writes
    paths, bodies               what a request asks for, and in which words it wants the answer (pure)
    reads, pages, watching, tables    answers joined from stored bytes
    claims, writes, patching    one commit a request, tried again where the client named no revision
    admission                   names, unknown fields, defaults, validation (pure)
    plugins, webhooks, protection, membership, hints     who else may change or refuse a write, or say something about it
    deletes, scale, versions    the verbs and subresources with rules of their own, and the versions of one resource
    actions, reviews            what is created and not stored
    discovery, openapi          what is served here
    definitions, cleanup        the table of kinds follows the CRDs; what namespaces and CRDs leave behind when they go
    status                      errors
"""
