"""A service that keeps every client's state: `grurt serve`.

A message's path through the rooms::

    protocol      the port: HTTP to uvicorn, WebSocket to picows; who may: access
    connection    one client                                    opening, layout
    service       models with their sessions, and every second  limits
    sessions      who holds which, how they begin and end       session, names
    turns         what waits is advanced, by one call of a pool
    keeper        states are written behind                     checkpoints, stores
"""
