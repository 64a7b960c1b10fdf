"""The engines, which run plans."""
