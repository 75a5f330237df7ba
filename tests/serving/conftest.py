"""The tests of the service need what it is made of, and real clients: see the extra `everything`."""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a certificate for localhost that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", path, "-out", path.with_suffix(".crt")]
    subprocess.run([*command, *names], check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path
