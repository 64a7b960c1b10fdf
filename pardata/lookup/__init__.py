"""Shared data that workers query: one interface, three places."""
