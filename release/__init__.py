"""What makes the packages of a release: ``python -m release`` builds all of them.

::

    kernels      which CPUs a wheel carries kernels for
    backend      the build backend that pip calls: setuptools', and what compiling the kernels needs
    packages     the packages of a release, built in environments of their own
    checks       what is asked of them before anybody gets them

None of this is installed.
"""
