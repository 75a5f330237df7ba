"""What compiling ahead of time needs that running does not."""

from importlib.util import find_spec

from grurt.errors import EngineError


def expect_numba(where: str) -> None:
    """Raise EngineError if Numba, or llvmlite, which it brings, is not installed; ``where`` is said first."""
    missing = [name for name in ("numba", "llvmlite") if find_spec(name) is None]
    if missing:
        raise EngineError(
            f"{where}: expected Numba to compile the kernels with, but {' and '.join(missing)} cannot be imported; "
            f'`pip install "grurt[jit]"` installs it'
        )
