"""Which packages there are, without importing them."""

from __future__ import annotations

import importlib.util

from grurt.errors import ConversionError
from grurt.installing import install_command


def is_installed(package: str) -> bool:
    """Say whether a package can be imported; a folder of that name, as of models beside a script, is none."""
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # of a module that was put into sys.modules without a spec
        return False
    return spec is not None and spec.origin is not None


def expect_onnx() -> None:
    """Raise ConversionError if there is no package to parse and to write ONNX's protobuf."""
    if not is_installed("onnx"):
        raise ConversionError(f"expected the package onnx to be installed, got none; run: {install_command('onnx')}")
