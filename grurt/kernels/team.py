"""Threads that share the streams of a call: the one that makes it leads, the others are its members.

Nobody is dealt a share: each thread takes the next streams when it has run its last, so that one that comes late, or
is slowed down, costs no more than its absence. A member that has found nothing left watches for the next call, for
about as long as waking it would take, before it sleeps: see `grurt.runtime.team`.
"""

from grurt.kernels import codes
from grurt.kernels.atomics import atomic_load, atomic_store, compare_and_swap, pause, ticks
from grurt.kernels.options import kernel
from grurt.kernels.simd import load_i64, store_i64
from grurt.kernels.sizes import I64_BYTES


@kernel
def open_call(team):
    """Offer the streams of a new call: the members that watch are there at once."""
    atomic_store(team + I64_BYTES * codes.TEAM_NEXT, 0)
    for i in range(load_i64(team, codes.TEAM_N_MEMBERS)):
        compare_and_swap(_state(team, i), codes.WATCHING, codes.WORKING)


@kernel
def call_sleepers(team):
    """Call the members that sleep; return whether there are any, and have to be woken."""
    any_asleep = False
    for i in range(load_i64(team, codes.TEAM_N_MEMBERS)):
        any_asleep |= compare_and_swap(_state(team, i), codes.ASLEEP, codes.CALLED) == codes.ASLEEP
    return any_asleep


@kernel
def close_call(team):
    """Call off the members that have not come, and wait a while for the others; return whether none works any more."""
    for i in range(load_i64(team, codes.TEAM_N_MEMBERS)):
        compare_and_swap(_state(team, i), codes.CALLED, codes.ASLEEP)
    for i in range(load_i64(team, codes.TEAM_N_MEMBERS)):
        if not _leaves(_state(team, i), codes.WORKING):
            return False
    atomic_store(team + I64_BYTES * codes.TEAM_NEXT, codes.TEAM_CLOSED)
    return True


@kernel
def join_call(state):
    """Begin to work on a call, if it has not been closed; return whether to."""
    return compare_and_swap(state, codes.CALLED, codes.WORKING) == codes.CALLED


@kernel
def watch(state):
    """End the work on a call, and watch for the next; return whether there is one."""
    atomic_store(state, codes.WATCHING)
    return _leaves(state, codes.WATCHING) or compare_and_swap(state, codes.WATCHING, codes.ASLEEP) != codes.WATCHING


@kernel
def _leaves(state, value):
    """Look for a while whether a member's state is another than ``value``; return whether it is."""
    end = ticks() + codes.TEAM_PATIENCE
    for _ in range(codes.TEAM_LOOKS):
        if atomic_load(state) != value:
            return True
        if ticks() > end:
            return False
        pause()
    return False


@kernel
def take(team, n_streams, capacity):
    """Take some of the streams that nobody has: return the first of them and how many they are, in fours; 0 at the end.

    Each time a thread's share of what is left: long runs at first, then shorter ones, so that all end together.
    """
    n_threads = load_i64(team, codes.TEAM_N_MEMBERS) + 1
    start = atomic_load(team + I64_BYTES * codes.TEAM_NEXT)
    while start < n_streams:
        share = (n_streams - start) // n_threads // 4 * 4
        count = min(capacity, max(4, share), n_streams - start)
        seen = compare_and_swap(team + I64_BYTES * codes.TEAM_NEXT, start, start + count)
        if seen == start:
            return start, count
        start = seen
    return n_streams, 0


@kernel
def copy_call(c, leader):
    """Set what a call is about in the context of a member: ports, streams and timesteps."""
    for slot in (codes.CONTEXT_STREAMS, codes.CONTEXT_N_STREAMS, codes.CONTEXT_N_STEPS):
        store_i64(c, slot, load_i64(leader, slot))
    n_ports = load_i64(c, codes.CONTEXT_N_INPUTS) + load_i64(c, codes.CONTEXT_N_OUTPUTS)
    for i in range(n_ports):
        slot = codes.CONTEXT_PORTS + codes.PORT_SLOTS * i + codes.PORT_ADDRESS
        store_i64(c, slot, load_i64(leader, slot))


@kernel
def _state(team, member):
    return team + I64_BYTES * (codes.TEAM_MEMBERS + codes.TEAM_MEMBER_SLOTS * member)
