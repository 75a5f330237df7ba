"""Stands in for the folder ``grurt/converters``, a link to ``converters``, where links were not checked out."""

from grurt.errors import ConversionError


class MissingLinkError(ConversionError, ImportError):
    """The converters are there, but not where Python looks for them."""


raise MissingLinkError(
    "grurt.converters: expected a link to the folder converters/, but this checkout has none: check grurt/converters "
    "out again where links are allowed, with `git config core.symlinks true` and `git checkout -- grurt/converters` "
    "(on Windows with developer mode switched on), put a copy of the folder there, or install a wheel"
)
