"""Walks a plan's operations over the timesteps of one call.

`run` takes the address of one context, a flat ``int64`` array of addresses and sizes (see `codes`), allocates nothing,
raises nothing and calls nothing outside the kernels. Inputs are checked before any of the state is touched.
"""

from grurt.kernels import codes
from grurt.kernels.checks import check_inputs, check_memories, check_streams
from grurt.kernels.operations import run_operation
from grurt.kernels.options import kernel
from grurt.kernels.simd import load_i64, store_i64
from grurt.kernels.sizes import I64_BYTES
from grurt.kernels.tables import Block, timesteps_of_call
from grurt.kernels.team import call_sleepers, close_call, copy_call, join_call, open_call, take, watch
from grurt.kernels.tensors import begin_sequences, check_initial_states, end_sequences
from grurt.kernels.timestep import run_timestep
from grurt.kernels.transfers import read_inputs, store_states, write_outputs


@kernel
def run(c, only_checks):
    """Run the plan of the context at address ``c``, or look only whether that can be done; return a status.

    Any status but OK means that nothing was computed and no state has changed.
    """
    phase = load_i64(c, codes.CONTEXT_PHASE)
    if phase == codes.FOLLOW:
        return _follow(c)
    if phase != codes.LEAD_ON:
        status = check_streams(c)
        if status == codes.OK:
            status = check_inputs(c)
        if status == codes.OK:
            status = check_initial_states(c)
        if status == codes.OK:
            status = check_memories(c)
        if status != codes.OK or only_checks:
            return status
    if phase == codes.LEAD or phase == codes.LEAD_ON:
        return _lead(c, phase)
    if phase == codes.STORE:
        store_states(c)
        return codes.OK
    if load_i64(c, codes.CONTEXT_BEGINNING):
        begin_sequences(c)
    if load_i64(c, codes.CONTEXT_STREAMS):
        _run_streams(c)
    elif load_i64(c, codes.CONTEXT_N_STEPS) == 1:
        run_timestep(c, 0, True)
    else:
        _run_timesteps(c)
    if load_i64(c, codes.CONTEXT_N_FINAL):
        end_sequences(c)
    return codes.OK


@kernel
def _lead(c, phase):
    """Run many streams with a team; return a status that says whether members have to be woken, or waited for."""
    team = load_i64(c, codes.CONTEXT_TEAM)
    if phase == codes.LEAD:
        open_call(team)
        if timesteps_of_call(c) >= load_i64(c, codes.CONTEXT_WORTH_WAKING) and call_sleepers(team):
            return codes.MEMBERS_SLEEP
    _run_taken_streams(c, team)
    return codes.OK if close_call(team) else codes.MEMBERS_WORK


@kernel
def _follow(c):
    """Run streams of a team's calls, until there has been no call for a while."""
    member = load_i64(c, codes.CONTEXT_MEMBER)
    works = join_call(member)
    while works:
        copy_call(c, load_i64(c, codes.CONTEXT_LEADER))
        _run_taken_streams(c, load_i64(c, codes.CONTEXT_TEAM))
        works = watch(member)
    return codes.OK


@kernel
def _run_timesteps(c):
    """Run one stream, in blocks of at most as many timesteps as there are rows."""
    n_steps = load_i64(c, codes.CONTEXT_N_STEPS)
    capacity = load_i64(c, codes.CONTEXT_CAPACITY)
    steps_done = load_i64(c, codes.CONTEXT_STEPS_DONE)
    for start in range(0, n_steps, capacity):
        n_rows = min(capacity, n_steps - start)
        if n_rows == 1:
            run_timestep(c, start, start + 1 == n_steps)
        else:
            run_block(c, Block(start, 1, n_rows, start + n_rows == n_steps, 0))
            store_i64(steps_done, 0, load_i64(steps_done, 0) + n_rows)


@kernel
def _run_streams(c):
    """Run many streams, in groups of at most as many as there are rows."""
    n_streams = load_i64(c, codes.CONTEXT_N_STREAMS)
    capacity = load_i64(c, codes.CONTEXT_CAPACITY)
    for start in range(0, n_streams, capacity):
        run_group(c, start, min(capacity, n_streams - start))


@kernel
def _run_taken_streams(c, team):
    """Run groups of streams until those of the call have all been taken."""
    n_streams = load_i64(c, codes.CONTEXT_N_STREAMS)
    capacity = load_i64(c, codes.CONTEXT_CAPACITY)
    start, n_rows = take(team, n_streams, capacity)
    while n_rows:
        run_group(c, start, n_rows)
        start, n_rows = take(team, n_streams, capacity)


@kernel
def run_group(c, start, n_rows):
    """Run as many streams as there are rows, from the call's number ``start`` on, timestep by timestep."""
    n_steps, n_streams = load_i64(c, codes.CONTEXT_N_STEPS), load_i64(c, codes.CONTEXT_N_STREAMS)
    streams = load_i64(c, codes.CONTEXT_STREAMS) + I64_BYTES * start
    steps_done = load_i64(c, codes.CONTEXT_STEPS_DONE)
    time_first = load_i64(c, codes.CONTEXT_TIME_FIRST)
    for t in range(n_steps):
        first = n_streams * t + start if time_first else n_steps * start + t
        run_block(c, Block(first, 1 if time_first else n_steps, n_rows, t == n_steps - 1, streams))
        for i in range(n_rows):
            stream = load_i64(streams, i)
            store_i64(steps_done, stream, load_i64(steps_done, stream) + 1)


@kernel
def run_block(c, block):
    """Run all operations over a block's rows, from the inputs to the outputs."""
    read_inputs(c, block)
    store_i64(c, codes.CONTEXT_BACKWARD, 1 - load_i64(c, codes.CONTEXT_BACKWARD))
    for i in range(load_i64(c, codes.CONTEXT_N_OPS)):
        run_operation(c, load_i64(c, codes.CONTEXT_OPS) + I64_BYTES * codes.OP_SLOTS * i, block)
    write_outputs(c, block)
