"""Keyed streams on Spark, beside the same pipeline without a model."""
