"""Channels: objects with arrays cross from one process to another."""
