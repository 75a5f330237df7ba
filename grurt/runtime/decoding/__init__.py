"""Models that read what they answer: generators of tokens, and forecasts.

choice         how a token is chosen from scores, checked
generation     rows of tokens in the making, and the calls into the kernels that go on with them
generators     prompts in, tokens out: of a model, a stream, a pool
encoding       what an encoder makes of sources, and
handing        which of that a decoder is handed
search         the best sequences that a decoder gives, with beams, or one that is drawn
forecasts      answers that become inputs
"""
