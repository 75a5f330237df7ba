"""Stands in for the folder ``grurt/converters``, a link to ``converters``, where links were not checked out."""

raise ImportError(
    "grurt.converters: expected a link to the folder converters/, but this checkout has none: check it out again where "
    "links are allowed, with `git config core.symlinks true` and `git checkout -- grurt/converters` (on Windows, with "
    "developer mode switched on), or install a wheel"
)
