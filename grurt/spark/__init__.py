"""Keyed streams on Spark."""
