"""What compiling ahead of time needs that running does not."""

from importlib.util import find_spec

from grurt.errors import EngineError
from grurt.installing import install_command


def expect_numba(where: str) -> None:
    """Raise EngineError if Numba, or llvmlite, which it brings, is not installed; ``where`` is said first."""
    missing = [name for name in ("numba", "llvmlite") if find_spec(name) is None]
    if missing:
        raise EngineError(
            f"{where}: expected Numba to compile the kernels with, but {' and '.join(missing)} cannot be imported; "
            f"`{install_command('jit')}` installs it"
        )
