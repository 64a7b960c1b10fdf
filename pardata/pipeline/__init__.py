"""Streams, plans and the decisions behind them."""
