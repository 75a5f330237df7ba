"""What quantization loses: accuracy on real data, and recipes tried in NumPy. ``python -m benchmarks.quantization``."""
