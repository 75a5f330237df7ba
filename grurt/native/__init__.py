"""Kernels compiled ahead of time: a library that Python loads in place of Numba, and objects for other programs.

`library` finds and loads what `build` has built, and imports neither Numba nor llvmlite. `intermediate` has Numba turn
the kernels into LLVM's language, once for all targets; `machine` turns that into an object file; `extension` is the way
in from Python; `linker` finds somebody who links.
"""
