"""The Open Inference Protocol over gRPC, beside HTTP: `--grpc-port`.

::

    server     the port: TLS, limits, the first connection and the last word
    calls      the methods: who may, what they answer, how refusals look
    stream     one stream of requests, whose replies keep their order
    tensors    requests and responses, as those of HTTP have them
    schema     the protocol's messages
"""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # else gRPC writes to stderr what its clients do wrong
