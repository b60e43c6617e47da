"""Agents: every action of an agent is decided, recorded and, where it must be, parked for people."""
