"""The tests of the service need what it is made of, and real clients: see the extra `everything`."""

from importlib.util import find_spec

_NEEDED = (
    "orjson",
    "picows",
    "prometheus_client",
    "redis",
    "starlette",
    "tritonclient",
    "uvicorn",
    "uvloop",
    "websockets",
)

collect_ignore_glob = [] if all(map(find_spec, _NEEDED)) else ["test_*.py"]
