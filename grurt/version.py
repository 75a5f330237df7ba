"""The version of grurt, which `pyproject.toml` reads."""

VERSION = "0.2.0"
