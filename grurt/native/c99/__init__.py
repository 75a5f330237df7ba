"""Models as source text of C99, for any compiler: `export`.

`functions.c` has the functions that models are made of; `snippets` takes out of it what one needs. `layers/` writes
what a layer does, one file for each family; `memory` says where values lie, `text` how numbers and comments are
written, `names` what everything is called. `selftest` has the engine's answers; `source` puts the file together, and
`header` and `example` are the files beside it.
"""

TARGET = "c99"
"""As ``grurt export --target`` takes it."""
