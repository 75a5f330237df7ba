"""Layers that no layer of grurt comes near, and what to do. Others are refused where their kin is converted."""

from __future__ import annotations

from grurt.converters.keras.handlers import refuses
from grurt.errors import DesignReason

refuses(
    *("LSTM", "SimpleRNN", "CuDNNLSTM", "LSTMCell", "SimpleRNNCell", "ConvLSTM1D", "ConvLSTM2D"),
    because="grurt runs GRU networks; train the model with a GRU",
    reason=DesignReason.OTHER_RECURRENCE,
)
refuses(
    *("Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "LambdaMerge"),
    because="it is code in the file, which grurt never runs; use Keras's own layers, or do this outside of the model",
    reason=DesignReason.OWN_CODE,
)
refuses(
    *("Flatten", "Reshape"),  # those that are not converted
    because="it joins timesteps, which a stream has only one at a time; use the last timestep (return_sequences=False)",
    reason=DesignReason.WHOLE_SEQUENCE,
)
refuses(
    *("Conv2D", "Conv3D", "MaxPooling2D", "AveragePooling2D", "Convolution2D", "SeparableConv2D", "DepthwiseConv2D"),
    *("GlobalAveragePooling2D", "GlobalMaxPooling2D"),
    because="it works on images; grurt reads sequences of vectors",
    reason=DesignReason.IMAGES,
)
refuses(
    *("UpSampling1D", "Conv1DTranspose"),
    because="it makes more timesteps of fewer; leave it out",
    reason=DesignReason.SEQUENCE_LENGTH,
)
refuses(
    "GroupQueryAttention",
    because="it looks at all timesteps at once, which a stream cannot; use a GRU, or MultiHeadAttention",
    reason=DesignReason.WHOLE_SEQUENCE,
)
