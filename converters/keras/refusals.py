"""Why layers are refused, and what to do."""

from __future__ import annotations

from collections.abc import Mapping

_RECURRENT = "grurt runs GRU networks; train the model with a GRU"
_CODE = "it is code in the file, which grurt never runs; use Keras's own layers, or do this outside of the model"
_ACROSS = "it joins timesteps, which a stream has only one at a time; use the last timestep (return_sequences=False)"
_TWO_DIMENSIONAL = "it works on images; grurt reads sequences of vectors"
_SHORTER = "it changes the number of timesteps, and a stream gives one output for each input; leave it out"
_ATTENTION = "it looks at all timesteps at once, which a stream cannot; use a GRU"

_REASONS: Mapping[str, str] = {
    **dict.fromkeys(
        ("LSTM", "SimpleRNN", "CuDNNLSTM", "LSTMCell", "SimpleRNNCell", "ConvLSTM1D", "ConvLSTM2D"), _RECURRENT
    ),
    **dict.fromkeys(("Lambda", "TFOpLambda", "SlicingOpLambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer"), _CODE),
    **dict.fromkeys(
        ("GlobalAveragePooling1D", "GlobalMaxPooling1D", "Flatten", "Permute", "Reshape", "Dot", "LambdaMerge"), _ACROSS
    ),
    **dict.fromkeys(("Conv2D", "Conv3D", "MaxPooling2D", "AveragePooling2D", "Convolution2D"), _TWO_DIMENSIONAL),
    **dict.fromkeys(
        (
            "MaxPooling1D",
            "AveragePooling1D",
            "UpSampling1D",
            "Cropping1D",
            "ZeroPadding1D",
            "RepeatVector",
            "Conv1DTranspose",
        ),
        _SHORTER,
    ),
    **dict.fromkeys(("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"), _ATTENTION),
    "GRUCell": "a cell alone has no sequence; wrap it in keras.layers.RNN",
    "Convolution1D": "a convolution of Keras 1 cannot be causal; train the layer as Conv1D with padding='causal'",
    "SeparableConv1D": "grurt has no separable convolution; use Conv1D with padding='causal' and groups",
    "DepthwiseConv1D": "grurt has no depthwise convolution; use Conv1D with padding='causal' and groups",
    "Maximum": "grurt can add, subtract, multiply, average and concatenate tensors",
    "Minimum": "grurt can add, subtract, multiply, average and concatenate tensors",
    "RMSNormalization": "grurt has batch and layer normalization; use one of them",
    "GroupNormalization": "grurt has batch and layer normalization; use one of them",
    "UnitNormalization": "grurt has batch and layer normalization; use one of them",
    "Normalization": "scale the inputs before the model, or with a BatchNormalization layer",
    "Rescaling": "scale the inputs before the model, or with a BatchNormalization layer",
    "StringLookup": "turn the texts into tokens before the model",
    "TextVectorization": "turn the texts into tokens before the model",
}


def reason_against(kind: str) -> str:
    """Return why a layer of this class has no counterpart, and what to do."""
    return _REASONS.get(
        kind, "the layer is not supported: grurt knows Keras's own layers for GRU networks, see the docs"
    )
