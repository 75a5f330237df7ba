"""How many numbers a vector has. Values and states are padded to whole vectors."""

LANES = 16
"""Sixteen for every CPU that Python runs on: one AVX-512 register, or several smaller ones.

In programs for CPUs without vectors it is four: see `grurt.native.intermediate`.
"""
