"""Keras files to grurt models, without Keras.

The steps, a file each::

    hdf5_bytes, hdf5_types, hdf5   the bytes of an HDF5 file, checked    -> arrays and texts by path
    container                      ``.keras`` and ``.h5``                -> the model's description, weights, version
    config                         the description of a layer            -> arguments, each of which is understood
    weights                        three ways to name weights            -> the arrays of a layer
    topology                       Sequential, functional, nested        -> calls of layers
    values, builder                what stands for a tensor, and the layers so far
    recurrent, wrappers            GRU in all its forms, Bidirectional, TimeDistributed    -> layers
    pointwise, convolution, merging, reshaping, operations, activations                    -> layers
    refusals                       what no layer can stand for           -> the reason
    interpret                      all calls, in order                   -> layers and weights
    ports                          inputs, outputs and states            -> the signature
    convert                        all of the above                      -> grurt.Model
    reference                      what Keras gives, where it is installed    -> grurt.ReferenceRun
"""

from .convert import convert_keras

__all__ = ["convert_keras"]
