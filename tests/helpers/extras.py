"""What tests need and the extra `test` does not bring, on every Python."""

from __future__ import annotations

EXTRAS = {"keras": "keras", "onnxruntime": "onnx", "onnxscript": "torch", "torch": "torch"}
EXTRAS |= dict.fromkeys(("pandas", "pyarrow", "pyspark"), "spark")
EXTRAS |= dict.fromkeys(
    ("httptools", "orjson", "picows", "prometheus_client", "starlette", "uvicorn", "uvloop"), "serve"
)
EXTRAS |= {"aiomqtt": "mqtt", "grpc": "grpc", "redis": "redis", "tokenizers": "tokenizers", "websockets": "client"}
EXTRAS |= {"paho": "mqtt", "tritonclient": "everything"}
"""The extra that brings a package, where that has a wheel."""


def why_missing(package: str) -> str | None:
    """Return why a test that imports a package is skipped where it is not installed; None of one that has to be."""
    name = package.partition(".")[0]
    return f'{name} is not installed: pip install -e ".[{EXTRAS[name]}]"' if name in EXTRAS else None
