"""Why something is refused by design, as exceptions say it."""

import enum


class DesignReason(enum.Enum):
    """Why something is refused by design: a closed list, which ``docs/supported.md`` shows.

    Parameters
    ----------
    what
        What was found.
    why
        Why it stays refused.
    advice
        What to do instead.
    """

    OTHER_RECURRENCE = (
        "a recurrent layer that is not a GRU, such as an LSTM",
        "whole sequences are understood by one cell, the GRU",
        "train the network with a GRU; or export one timestep of it, its states as inputs and outputs",
    )
    NO_RECURRENCE = (
        "no GRU, nor anything that is one",
        "without a state there is nothing to stream: other engines run such networks as well",
        "run it with onnxruntime; if it has a GRU that was taken apart, export it again with its GRU",
    )
    WHOLE_SEQUENCE = (
        "something that lets timesteps look at all others, such as attention, or at what is known at the end only",
        "a stream has one timestep at a time, and keeps a state of fixed size",
        "join the timesteps with a GRU, or by their sum, mean, maximum or a softmax of scores; or outside of the model",
    )
    SEQUENCE_LENGTH = (
        "layers of which the number of timesteps is a size, or that change it",
        "a stream goes on for any number of timesteps, and gives one answer for each",
        "apply such layers outside of the model",
    )
    ACROSS_BATCH = (
        "something that joins the sequences of a batch",
        "sequences are independent: each is a stream of its own, and its answers depend on no other",
        "export the model as it is applied to one sequence; often a GRU lacks its batch_first=True",
    )
    IMAGES = (
        "convolutions or pooling over more axes than time",
        "layers over time work on vectors",
        "export one timestep of the network, its states as inputs and outputs",
    )
    FED_BACK_STATE = (
        "a state that the source changes before it feeds it back",
        "a stream keeps the states of its layers as they are, so that it would compute something else than the loop",
        "change the state inside of the network instead; whole sequences convert, and run",
    )
    DATA_DEPENDENT = (
        "loops, branches or shapes that depend on what is computed",
        "the same operations run at every timestep, in memory that is known before: so a step allocates nothing",
        "export the network that is inside, and write the loop or the branch around it",
    )
    TRAINING = (
        "what belongs to training: numbers drawn at random, statistics of a batch",
        "the same input gives the same bits",
        "call model.eval() before the export; draw samples from the answers outside of the model",
    )
    QUANTIZED = (
        "weights or operators that something else has quantized",
        "their arithmetic is another runtime's own, and the float weights cannot be had back exactly",
        "convert the model from before, and quantize it with grurt: model.quantize('int8')",
    )
    OWN_CODE = (
        "code of the model's author, which is not in the file, or would have to be run",
        "a model file is only data: nothing in it is ever run",
        "export the model to ONNX where its code is, or give its weights and a description of the layers",
    )
    ELEMENT_TYPE = (
        "texts that become no tokens, complex numbers, or other elements that a network does not compute with",
        "kernels compute with float32, and read whole numbers as tokens",
        "turn them into numbers before the model, and back behind it",
    )
    NOT_SAID = (
        "something that the file does not say, or says in a way that programs read differently",
        "nothing is guessed: a wrong guess would give wrong answers without a word",
        "save it again with what is missing, as the message says",
    )
    FAULTY_SOURCE = (
        "a file that gives wrong answers wherever it is run",
        "what it says is not what was trained",
        "export it again with a newer version of what wrote it, or allow the repair where the message offers one",
    )
    OTHER_FORMAT = (
        "a format that is another program's own, or no model",
        "it is made for one runtime, and has lost what a converter needs, such as the layers",
        "convert the file that it was made from",
    )
    SIZE = (
        "more of something than a converter takes from a file",
        "what a file of strangers may cost is bounded, in proportion to its size",
        "convert a part of it, or store what repeats itself once",
    )

    def __init__(self, what: str, why: str, advice: str) -> None:
        self.what = what
        self.why = why
        self.advice = advice
