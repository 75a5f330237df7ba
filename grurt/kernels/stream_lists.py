"""The streams of a call, from a list or tuple of Python integers."""

from grurt.kernels import codes
from grurt.kernels.objects import integer_at
from grurt.kernels.options import kernel
from grurt.kernels.plain import first_item, is_list, length_of, type_of
from grurt.kernels.simd import load_i64, store_i64


@kernel
def bind_listed_streams(c, streams):
    """Whether an object is a list or tuple of integers, no more than there are streams; if so, they are the call's.

    They are read with the GIL held, so that nobody changes the list meanwhile.
    """
    if not is_list(c, streams):
        return False
    items, count = first_item(c, streams), length_of(streams)
    if count > load_i64(c, codes.CONTEXT_N_SLOTS):
        return False
    own = load_i64(c, codes.CONTEXT_OWN_STREAMS)
    for i in range(count):
        item = load_i64(items, i)
        if type_of(item) != load_i64(c, codes.CONTEXT_INTEGER):
            return False
        store_i64(own, i, integer_at(item))
    store_i64(c, codes.CONTEXT_STREAMS, own)
    store_i64(c, codes.CONTEXT_N_STREAMS, count)
    return True
