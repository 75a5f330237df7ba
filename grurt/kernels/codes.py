"""The numbers that lowering and kernels agree on: operations, functions, and the slots of the tables.

Tables are ``int64`` in memory. A value of the model lives in scratch memory as ``capacity`` rows of its *stride*, its
size rounded up to whole vectors. Its *offset* counts the strides of the values before it, so that it starts at
``scratch + capacity * offset``, whatever the capacity. Offsets, strides and sizes are in float32.
"""

# Element-wise functions; `grurt.lowering.function_code` gives the two parameters of each.
GATE_SIGMOID = 0
TANH = 1
SIGMOID = 2
RELU = 3
LEAKY_RELU = 4
THRESHOLDED_RELU = 5
ELU = 6
GELU = 7
GELU_TANH = 8
HARD_SIGMOID = 9
SCALED_TANH = 10
SOFTSIGN = 11
SOFTPLUS = 12
AFFINE = 13
CLIP = 14

# Operations.
GRU = 0
GRU_RESET_BEFORE = 1
DENSE = 2
EMBEDDING = 3
CONV1D = 4
LAYER_NORM = 5
BATCH_NORM = 6
ADD = 7
MUL = 8
COPY = 9
COPY_FIRST_ROW = 10
FUNCTION = 11
PRELU = 12
SOFTMAX = 13
LOG_SOFTMAX = 14

# Slots of an operation. Those that share a number belong to different operations.
OP_KIND = 0
OP_SINGLE = 1  # behind LastStep or FirstStep: in a whole sequence only the last row counts
OP_IN = 2
OP_IN_STRIDE = 3
OP_IN_SIZE = 4
OP_OUT = 5
OP_OUT_STRIDE = 6
OP_OUT_SIZE = 7
OP_WEIGHTS = 8
OP_STATE = 9
OP_PARAMETERS = 10  # offset of float parameters in the weights
OP_TEMP = 11
OP_TEMP_STRIDE = 12
OP_OTHER = 13  # second operand of ADD and MUL
OP_OTHER_STRIDE = 14
OP_COLUMN = 13  # COPY: first output feature
OP_INPUT = 13  # EMBEDDING: index of the model input
OP_FUNCTION = 13  # FUNCTION
OP_GATE = 13  # GRU: function of z and r
OP_CANDIDATE = 14  # GRU: function of n
OP_CLIPPED = 15  # GRU
OP_REVERSE = 16  # GRU
OP_TAPS = 13  # CONV1D
OP_DILATION = 14  # CONV1D
OP_GROUPS = 15  # CONV1D
OP_SLOTS = 17

# Slots of a context.
CONTEXT_OPS = 0  # address of the operations
CONTEXT_N_OPS = 1
CONTEXT_WEIGHTS = 2  # address
CONTEXT_STATES = 3  # address of the states of all streams, each CONTEXT_STATE_SIZE long
CONTEXT_SCRATCH = 4  # address
CONTEXT_CAPACITY = 5  # rows of each value in scratch memory
CONTEXT_N_STEPS = 6  # timesteps of this call
CONTEXT_STEPS_DONE = 7  # address of the timesteps of each stream since its last reset
CONTEXT_WHOLE_SEQUENCE = 8  # 1: values behind LastStep are wanted once, at the end; 0: at every timestep
CONTEXT_REFUSE_NONFINITE = 9
CONTEXT_FAULT_PORT = 10  # written when a status is not OK: which input,
CONTEXT_FAULT_INDEX = 11  # and which of its elements
CONTEXT_N_INPUTS = 12
CONTEXT_N_OUTPUTS = 13
CONTEXT_ARRAY_TYPE = 14  # address of the type of NumPy arrays; 0: no array is taken from Python as it is
CONTEXT_FLOAT32 = 15  # address of NumPy's float32
CONTEXT_BY_ADDRESS = 16  # address of `entry.BY_ADDRESS`
CONTEXT_STATE_SIZE = 17
CONTEXT_STREAMS = 18  # address of the streams (int64) whose timestep is a row; 0: rows are timesteps of stream 0
CONTEXT_N_STREAMS = 19  # how many, where there are any
CONTEXT_N_SLOTS = 20  # of how many streams there are states
CONTEXT_LAST_CALL = 21  # address of the number of the last call that each stream was in; negative: there is no stream
CONTEXT_CALL = 22  # number of this call
CONTEXT_PHASE = 23
CONTEXT_INT64 = 24  # address of NumPy's int64
CONTEXT_OWN_STREAMS = (
    25  # address of room for CONTEXT_N_SLOTS streams: what is checked is copied, and run from the copy
)
CONTEXT_BUSY = 26  # 1 while a thread is inside
CONTEXT_PORTS = 27  # the first port; inputs first, then outputs

# Slots of a port, an input or output of the model.
PORT_ADDRESS = 0
PORT_SIZE = 1  # features; for tokens, the vocabulary's size
PORT_IS_TOKENS = 2
PORT_VALUE = 3  # offset of its value
PORT_STRIDE = 4
PORT_SINGLE = 5
PORT_SLOTS = 6

# Phases of a call that several threads share: all inputs are checked before any thread goes on.
CHECK_AND_RUN = 0
CHECK = 1
RUN = 2

# What an entry point returns.
OK = 0
NOT_PLAIN = 1
NONFINITE = 2
TOKEN_OUT_OF_RANGE = 3
NO_SUCH_STREAM = 4
STREAM_TWICE = 5
BUSY = 6
