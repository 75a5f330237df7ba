"""Keras files to networks, without Keras.

::

    hdf5_bytes, hdf5_types, hdf5   the bytes of an HDF5 file, checked    -> arrays and texts by path
    container                      ``.keras`` and ``.h5``                -> the model's description, weights, version
    config                         the description of a layer            -> arguments, each of which is understood
    objects                        one way to name paths                 -> the objects of a file
    weights                        three ways to name weights            -> the arrays of a layer
    topology                       Sequential, functional, nested        -> calls of layers
    values, builder                what stands for a tensor, and the layers so far
    recurrent, wrappers            GRU in all its forms, Bidirectional, TimeDistributed            -> layers
    dense, normalization, pointwise, convolution, windows, merging, reshaping, activations         -> layers
    texts, vectorizer                      what takes texts apart        -> the vocabulary of an input
    operations, functions          what ``keras.ops`` does               -> layers
    handlers, refusals             which layers are converted, and why others are not
    interpret                      all calls, in order                   -> layers and weights
    signature                      inputs, outputs and states            -> those of the network
    convert                        all of these                          -> Network
    reference                      what Keras gives, where it is installed    -> ReferenceRun
"""
