"""What makes the packages of a release: ``python -m release`` builds all of them.

::

    kernels      which CPUs a wheel carries kernels for
    backend      the build backend that pip calls: setuptools', and what compiling the kernels needs
    packages     the packages of a release, built in environments of their own
    checks       what is asked of them before anybody gets them
    trials       each in a fresh environment, the bits of its answers compared
    emulated     a Python for 64-bit Arm
    sizes        what installing takes, beside others

None of this is installed.
"""
