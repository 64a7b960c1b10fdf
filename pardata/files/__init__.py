"""Huge objects cut into pieces and pages."""
