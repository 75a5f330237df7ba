"""Networks to ONNX files, for whoever runs them elsewhere, and to compare with.

graph          nodes and weights as they are collected
functions      functions of features
gru, layers    what each layer is in ONNX
ports          the source's tensors, from and to the layout that the layers have in between
convert        the whole
"""
