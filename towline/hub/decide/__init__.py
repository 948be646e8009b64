"""Decisions: pure functions `decide(snapshot, key, now) -> Plan`. One file a decision.

Nothing here does I/O, reads a clock, draws a random number, awaits or logs. The controllers call decisions; what a
decision wants is in the plan it returns.
"""
