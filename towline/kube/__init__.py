"""The Kubernetes object model that hub and agent share.

Pure: no I/O, no clock, no asyncio, no logging. Everything here is a value or a function of its arguments.
Objects are plain parsed JSON (`dict[str, Any]`) and frozen by convention: nobody changes one in place that
came from somewhere else; who wants a change makes a new one.
"""
