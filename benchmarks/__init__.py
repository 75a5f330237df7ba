"""Benchmarks of grurt beside its peers: ``python -m benchmarks`` measures, ``python -m benchmarks.report`` shows.

Nothing is timed that was not first proved equal to a float64 GRU (`proof`). All contenders of a comparison run in one
process, on one pinned core, with one thread each, and take turns in short rounds; the figures are medians over rounds
and over processes. `docs/benchmarks.md` says more, and shows the results.
"""
