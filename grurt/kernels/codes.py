"""The numbers that lowering and kernels agree on: operations, functions, and the slots of the tables.

Tables are ``int64`` in memory. Addresses, offsets and strides are in bytes; sizes count numbers.

A value of the model lives in scratch memory as ``capacity`` timesteps. A timestep of it is a row, its numbers filled up
to whole vectors, or, of a grid, a row for each position. Rows are the value's *stride* apart, timesteps its *timestep
stride*. A value's *offset* counts the timestep strides of the values before it, so that it starts at ``scratch +
capacity * offset``, whatever the capacity.
"""

# Element-wise functions; `grurt.lowering.functions.function_code` gives the two parameters of each.
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
# From here on, functions that no gate has.
EXP = 15
LOG = 16
SQRT = 17
RECIPROCAL = 18
POW = 19
ABS = 20
SIGN = 21
ROUND = 22
FLOOR = 23
CEIL = 24
SIN = 25
COS = 26
ERF = 27

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
COPY_POSITIONS = 15  # a vector to a grid, or back
FEATURE_MASK = 16
TOKEN_MASK = 17
DEPTHWISE_CONV1D = 18
RMS_NORM = 19
BINARY = 20
SELECT = 21
CONSTANT = 22
REDUCE = 23
PROGRAM = 24
TIME_POOLING = 25
ATTENTION = 26

# Operations on two numbers.
SUB = 0
DIV = 1
BINARY_POW = 2
MIN = 3
MAX = 4
LESS = 5
LESS_OR_EQUAL = 6
EQUAL = 7

# Reductions.
REDUCE_SUM = 0
REDUCE_MEAN = 1
REDUCE_L1 = 2
REDUCE_L2 = 3
REDUCE_LOG_SUM_EXP = 4
REDUCE_PROD = 5
REDUCE_MAX = 6
REDUCE_MIN = 7
REDUCE_ARGMAX = 8
REDUCE_ARGMIN = 9

# What timesteps are pooled to.
POOL_SUM = 0
POOL_MEAN = 1
POOL_MAX = 2
POOL_SOFTMAX = 3

# How a query and a key are compared.
ATTEND_DOT = 0
ATTEND_ADDITIVE = 1

# Slots of an operation: first what any may have, then what belongs to one kind, or to a few.
OP_KIND = 0
OP_SINGLE = 1  # behind LastStep or FirstStep: in a whole sequence only the last row counts
OP_POSITIONS = 2  # rows of a timestep
OP_IN = 3
OP_IN_STRIDE = 4
OP_IN_TIMESTEP_STRIDE = 5
OP_IN_SIZE = 6
OP_OUT = 7
OP_OUT_STRIDE = 8
OP_OUT_TIMESTEP_STRIDE = 9
OP_OUT_SIZE = 10
OP_WEIGHTS = 11
OP_RECURRENT_WEIGHTS = 12  # GRU
OP_FORMAT = 13  # of the weights: EMBEDDING, DENSE, CONV1D, GRU
OP_PARAMETERS = 14  # offset of float parameters in the weights
OP_STATE = 15
OP_TEMP = 16
OP_TEMP_STRIDE = 17
OP_RECORD = 18  # GRU, CONV1D with INT8 or INT4: where in a row of OP_TEMP the record of the input is
OP_HIDDEN_RECORD = 19  # GRU with INT8 or INT4: and that of the state
OP_GATE = 20  # GRU: function of z and r
OP_CANDIDATE = 21  # GRU: function of n
OP_CLIPPED = 22  # GRU
OP_REVERSE = 23  # GRU
OP_MASKED = 24  # GRU, TIME_POOLING: whether there is a mask; ATTENTION: a bias,
OP_MASK = 25  # and its offset
OP_SCANS_POSITIONS = 26  # GRU: not the timesteps,
OP_INITIAL = 27  # and in each from this state, an offset in the weights
OP_TAPS = 28  # CONV1D
OP_DILATION = 29  # CONV1D
OP_GROUPS = 30  # CONV1D
OP_GROUP_STRIDE = 31  # CONV1D: bytes of a group's outputs, in whole vectors,
OP_GROUP_OUT = 32  # and where in a row of OP_TEMP they are
OP_OTHER = 33  # ADD, MUL, BINARY: second operand; SELECT: the condition; TIME_POOLING: scores; ATTENTION: keys
OP_OTHER_STRIDE = 34
OP_COLUMN = 35  # COPY: first output feature
OP_SOURCE_COLUMN = 36  # COPY: first input feature
OP_FUNCTION = 37  # FUNCTION, BINARY, REDUCE, TIME_POOLING, ATTENTION: which
OP_INPUT = 38  # EMBEDDING, TOKEN_MASK: index of the model input
OP_TOKEN = 39  # TOKEN_MASK
OP_FACTOR = 40  # GRU: offset of the factor of the state,
OP_FACTOR_STRIDE = 41  # 0: there is none,
OP_FACTOR_SIZE = 42  # and its size, 1 or the state's
OP_STEPS = 43  # PROGRAM: address of its steps, an offset in the weights,
OP_N_STEPS = 44  # how many,
OP_SOURCES = 45  # and of its inputs: for each an offset in scratch memory and a stride,
OP_N_SOURCES = 46  # how many
OP_CONTEXT = 47  # and where in a context the part is that it reads
OP_SCORE_SIZE = 48  # TIME_POOLING: of a softmax, scores of a timestep
OP_VALUES = 49  # ATTENTION: offset of the values,
OP_VALUES_STRIDE = 50
OP_KEY_SIZE = 51  # features of a key,
OP_HEADS = 52
OP_CAUSAL = 53  # whether timesteps attend to those before them only,
OP_MAX_STEPS = 54  # how many a stream may have; 0: there are no streams,
OP_SHARES_MEMORY = 55  # and whether keys are values
OP_SLOTS = 56

# Where the numbers of a step program lie: what the offsets of views are counted from. Offsets count float32.
BASE_WEIGHTS = 0
BASE_STATE = 1
BASE_ARENA = 2
BASE_OUT = 3
BASE_CONTEXT = 4
BASE_INPUTS = 5  # and the following

# Steps of a program.
STEP_MAP = 0
STEP_CONTRACT = 1
STEP_DEPTHWISE = 2
STEP_GRU = 3
STEP_LSTM = 4
STEP_RNN = 5
STEP_REDUCE = 6
STEP_ROW_WISE = 7
STEP_PRODUCT = 8
STEP_QUANTIZE = 9

# Slots of a step, int32: first what any may have, then what belongs to one kind. Tables are offsets in the weights.
STEP_KIND = 0
STEP_CODE = 1  # MAP, REDUCE, ROW_WISE: which function
STEP_OUT_BASE = 2
STEP_OUT = 3
STEP_A_BASE = 4  # the first input,
STEP_A = 5
STEP_B_BASE = 6  # MAP, PRODUCT: the second,
STEP_B = 7
STEP_C_BASE = 8  # MAP: and the third
STEP_C = 9
STEP_N_ROWS = 10  # of a scan: timesteps
STEP_SIZE = 11  # MAP: numbers of a row; CONTRACT: outputs; DEPTHWISE: channels; ROW_WISE: features; PRODUCT: columns
STEP_OUT_STRIDE = 12  # MAP: of numbers in a row; of a scan: of rows
STEP_A_STRIDE = 13
STEP_B_STRIDE = 14
STEP_STATE_STRIDE = STEP_B_STRIDE  # of a scan: of the states of its batch
STEP_C_STRIDE = 15
STEP_OUT_ROWS = 16  # MAP, REDUCE, PRODUCT: table of where rows begin,
STEP_A_ROWS = 17
STEP_B_ROWS = 18
STEP_C_ROWS = 19
STEP_WEIGHTS = 20  # of MAP, ROW_WISE: parameters
STEP_N_INPUTS = 21  # CONTRACT, QUANTIZE: inputs of a row; DEPTHWISE: taps; REDUCE: of which one is made; PRODUCT
STEP_TABLE = 22  # CONTRACT, QUANTIZE: runs of inputs; DEPTHWISE: taps; REDUCE: places
STEP_N_TABLE = 23
STEP_SEGMENTS = 24  # CONTRACT, DEPTHWISE, QUANTIZE: even rows: begin, begin of outputs, how many, strides of both
STEP_N_SEGMENTS = 25
STEP_FORMAT = 26  # CONTRACT, LSTM, RNN
STEP_WORK = 27  # QUANTIZE: where a row is gathered; of a scan: where rows of working memory begin,
STEP_WORK_STRIDE = 28
STEP_BATCH = 29  # how many rows a timestep has,
STEP_STATE = 30  # where h is,
STEP_CELL = 31  # and c
STEP_OPERATION = 32  # GRU: table of the operation, an offset in the weights
STEP_RECURRENT_WEIGHTS = 33  # LSTM, RNN
STEP_HIDDEN_SIZE = 34
STEP_REVERSE = 35
STEP_PARAMETERS = 36  # RNN: of its function; REDUCE: factor
STEP_LANES = 37  # REDUCE: how the numbers lie: see below
STEP_OUTER_STRIDE = 38  # PRODUCT: of a from one input to the next
STEP_RECORD = 40  # LSTM, RNN with INT8: where in a row of working memory the record of the input is,
STEP_HIDDEN_RECORD = 41  # and that of the state
STEP_SLOTS = 42

SEGMENT_SLOTS = 5

# How REDUCE goes through its numbers.
SIDE_BY_SIDE = 0  # those of neighbouring results lie side by side: a lane for each result
IN_A_ROW = 1  # those of one result do: in partial sums
ONE_BY_ONE = 2

# What MAP computes, behind the element-wise functions.
MAP_COPY = 32
MAP_FLUSH = 33  # a copy, with zeros for what is on the way to denormal numbers
MAP_ADD = 34
MAP_MUL = 35
MAP_WHERE = 36
MAP_PRELU = 37
MAP_BINARY = 40  # and the operations on two numbers

# Formats of packed weights.
FLOAT32 = 0
FLOAT16 = 1
INT8 = 2
INT4 = 3  # GRU only

# Slots of a context.
CONTEXT_OPS = 0  # address of the operations
CONTEXT_N_OPS = 1
CONTEXT_WEIGHTS = 2  # address
CONTEXT_STATES = 3  # address of the states of all streams
CONTEXT_SCRATCH = 4  # address
CONTEXT_CAPACITY = 5  # timesteps of each value in scratch memory
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
CONTEXT_STATE_STRIDE = 17  # from the state of one stream to that of the next
CONTEXT_STREAMS = 18  # address of the streams (int64) whose timestep is a row; 0: rows are timesteps of stream 0
CONTEXT_N_STREAMS = 19  # how many, where there are any
CONTEXT_N_SLOTS = 20  # of how many streams there are states
CONTEXT_LAST_CALL = 21  # address of the number of the last call that each stream was in; negative: there is no stream
CONTEXT_CALL = 22  # number of this call
CONTEXT_PHASE = 23
CONTEXT_INT64 = 24  # address of NumPy's int64
CONTEXT_OWN_STREAMS = 25  # address of room for CONTEXT_N_SLOTS streams: what is checked is copied there, and run
CONTEXT_BUSY = 26  # one of the three below
CONTEXT_BACKWARD = 27  # whether weights are read from the last to the first; changes with each block
CONTEXT_TEAM = 28  # address of the team that this thread leads or is a member of; 0: it works alone
CONTEXT_LEADER = 29  # address of the leader's context
CONTEXT_MEMBER = 30  # address of the state of this member
CONTEXT_WORTH_WAKING = 31  # timesteps of all streams from which on members that sleep are woken
CONTEXT_STEP_WORK = 32  # multiplications of a timestep
CONTEXT_HELD_STREAMS = 33  # what `hold` gave for the streams of a call, until all is done
CONTEXT_INTEGER = 34  # address of the type of Python's integers
CONTEXT_TUPLE = 35  # address of the type of Python's tuples
CONTEXT_TUPLE_ITEMS = 36  # offset of the first item in one
CONTEXT_NONE = 37  # address of None
CONTEXT_BEGINNING = 38  # address of the state that every call begins from; 0: each goes on where the last one ended
CONTEXT_TENSORS_IN = 39  # a call takes so many of the source's tensors; 0: it takes arrays of frames
CONTEXT_TENSORS_OUT = 40  # and gives so many
CONTEXT_N_INITIAL = 41  # states among the former,
CONTEXT_N_FINAL = 42  # and among the latter
CONTEXT_TIME_FIRST = 43  # arrays of many streams have timesteps before streams
CONTEXT_LIST = 44  # address of the type of Python's lists
CONTEXT_ENTERED_CLAIMED = 45  # whether nobody hands in arrays but who has claimed the context before
CONTEXT_FLOAT64 = 46  # address of NumPy's float64
CONTEXT_FLOAT = 47  # address of the type of Python's floats
CONTEXT_GIVEN = 48  # address of the addresses of what each stream was given once: see BASE_CONTEXT; 0: nothing
CONTEXT_DECODING = 49  # address of a table of what decoding goes on with
CONTEXT_REMEMBERS = 50  # whether there are operations that only so many timesteps of a stream may reach
CONTEXT_PORTS = 51  # the first port: inputs, outputs, initial states, final states

SHORT_WORK = 200_000
"""Multiplications that take some 5 us: calls of fewer keep the GIL."""

# Who works with a context: nobody, a thread inside the kernels, a thread in Python.
IDLE = 0
ENTERED = 1
CLAIMED = 2
BUSY_BITS = 3

# Slots of a port, an input or output of the model, or the state of a layer in one of the source's tensors.
PORT_ADDRESS = 0
PORT_SIZE = 1  # features; for tokens, the vocabulary's size
PORT_IS_TOKENS = 2
PORT_VALUE = 3  # offset of its value in scratch memory; of a state, in the stream's
PORT_STRIDE = 4
PORT_SINGLE = 5
PORT_ROWS = 6  # of a frame that the value holds transposed, the size of the first axis; of a state, its rows
PORT_TRANSPOSED = 7  # the value holds the frame with its two axes the other way round
PORT_OBJECT = 8  # address of the array that a call reads or writes; 0: it is a token in the next slot
PORT_TOKEN = 9
PORT_HELD = 10  # what `hold` gave for the array of a call, until all is done
PORT_TENSOR = 11  # which of a call's tensors it is, or is in
PORT_SHAPE = 12  # address of the sizes of its axes; negative ones are those of the call; 0: a vector or token
PORT_LAYER = 13  # which of the layers whose states the tensor holds, one after the other
PORT_ROOM = 14  # offset in scratch memory of room for an input that comes as other numbers than float32
PORT_AXES = 15  # how many axes the caller's frame has, or that tensor
PORT_STATE = 16  # of a state, address of the sizes of its axes, of their strides in numbers, and of those in the tensor
PORT_STATE_AXES = 17  # and how many; 0: it is PORT_ROWS rows of PORT_SIZE numbers, PORT_STRIDE apart
PORT_SLOTS = 18

# Sizes of a call.
TIMESTEPS = -1  # the number of timesteps
SEQUENCES = -2  # the number of sequences; so many times that: SEQUENCES + 1 - times

# Phases of a call.
ALONE = 0  # check, and run
LEAD = 1  # check, and run with a team
LEAD_ON = 2  # go on, when the members have been woken, or where some still work
FOLLOW = 3  # be a member of a team: run whatever there is to run
STORE = 4  # check, and copy the inputs to where the states are
DECODE = 5  # choose tokens of what the model answers, and have it read them
FEED_BACK = 6  # have the model read what it answers
SEARCH = 7  # find the best sequences of tokens

# Slots of what decoding goes on with. Arrays have a row for each sequence, which has a number that stays; those that go
# on lie one behind the other, each at a place.
DECODING_N_ROWS = 0  # how many go on
DECODING_ROWS = 1  # address of their numbers (int64), place by place
DECODING_INPUT = 2  # which of the inputs reads tokens,
DECODING_OUTPUT = 3  # and which port gives scores
DECODING_VOCABULARY_SIZE = 4
DECODING_ROW_BYTES = 5  # of so many numbers, in whole vectors
DECODING_OF_PROBABILITIES = 6  # the scores are no logits
DECODING_PROMPTS = 7  # address of what rows read first (int64)
DECODING_PROMPT_BYTES = 8  # from one row to the next
DECODING_LENGTHS = 9  # address of two numbers for each row (int64): tokens read first, and tokens given first
DECODING_POSITIONS = 10  # address of how many tokens rows have read (int64)
DECODING_PREVIOUS = 11  # address of the last of them (int64)
DECODING_OUT = 12  # address of what is chosen (int64)
DECODING_MAX_TOKENS = 13
DECODING_COUNTS = 14  # address of how many tokens were chosen (int64)
DECODING_SEEDS = 15  # address (int64)
DECODING_STOP = 16  # address of the tokens that end a row (int64),
DECODING_N_STOP = 17  # how many
DECODING_PARAMETERS = 18  # address of the four below, float32
DECODING_TOP_K = 19
DECODING_ALLOWED = 20  # address of numbers to be added to scores; 0: none
DECODING_ALLOWED_STRIDE = 21  # from one previous token to the next
DECODING_SEEN = 22  # address of what rows have read or given, a number not 0 for each such token; 0: it does not matter
DECODING_WORK = 23  # address of working memory
DECODING_FAULT = 24  # written when a status is not OK: which row
DECODING_SLOTS = 25

# And of a search, behind those. Each source has a number, and room for as many rows as there are beams, whose numbers
# follow on each other. Where something is said to be there for all timesteps, those lie outermost, and hold all rows.
SEARCH_BEAMS = 25  # how many rows a source has at most
SEARCH_MAX_ROWS = 26  # how many there are of all sources
SEARCH_N_SOURCES = 27  # how many go on,
SEARCH_SOURCES = 28  # address of their numbers (int64),
SEARCH_ALIVE = 29  # and of how many rows each source has (int64)
SEARCH_STEP = 30  # tokens that each row has
SEARCH_SCORES = 31  # address of the rows' scores (float64)
SEARCH_PARENTS = 32  # address of the rows that they came of, for all timesteps, as DECODING_OUT (int64)
SEARCH_CANDIDATE_SCORES = 33  # address of the scores of twice as many as there are beams (float64),
SEARCH_CANDIDATE_ROWS = 34  # of which rows they are (int64),
SEARCH_CANDIDATE_TOKENS = 35  # and by which tokens they go on (int64)
SEARCH_N_ENDED = 36  # address of how many sequences of each source have ended (int64),
SEARCH_ENDED_SCORES = 37  # of their scores, for their lengths (float64),
SEARCH_ENDED = 38  # and of step, row and token that each ends with (int64)
SEARCH_FOUND_TOKENS = 39  # address of the tokens of sequences that have ended, DECODING_MAX_TOKENS of each row (int64),
SEARCH_FOUND_ROWS = 40  # and of the rows of whose scores they were chosen (int64)
SEARCH_LENGTH_NORMS = 41  # address of what scores are divided by, by the number of tokens (float64)
SEARCH_STATES = 42  # address of room for the states of a source's rows
SEARCH_GIVEN = 43  # address of addresses: of what each input reads of each source, whatever the timestep
SEARCH_SHOWN = 44  # which port gives what is kept of all timesteps; 0: none
SEARCH_HISTORY = 45  # address of that
SEARCH_SLOTS = 46

DECODING_TEMPERATURE = 0
DECODING_TOP_P = 1
DECODING_PENALTY = 2

# Slots of a team. What is written by different threads stands 64 bytes apart.
TEAM_N_MEMBERS = 0
TEAM_NEXT = 8  # the first stream of the call that nobody has taken; TEAM_CLOSED when the call is over
TEAM_MEMBERS = 16  # the first member's state
TEAM_MEMBER_SLOTS = 8

# States of a member.
ASLEEP = 0
CALLED = 1
WORKING = 2
WATCHING = 3

TEAM_CLOSED = 1 << 62
TEAM_PATIENCE = 150_000
"""How long a thread looks whether another has done something, before it sleeps, in ticks: some 50 us."""
TEAM_LOOKS = 100_000
"""How often at most: what ends it where there is no clock."""

# What an entry point returns.
OK = 0
NOT_PLAIN = 1
NONFINITE = 2
TOKEN_OUT_OF_RANGE = 3
NO_SUCH_STREAM = 4
STREAM_TWICE = 5
BUSY = 6
MEMBERS_SLEEP = 7
MEMBERS_WORK = 8
NOTHING_TO_CHOOSE = 9
MEMORY_FULL = 10
