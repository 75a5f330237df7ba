"""What is said of a model that cannot run one timestep at a time."""

from grurt.errors import StreamingError
from grurt.network.network import Network


def streaming_error(network: Network) -> StreamingError:
    """Return the error for who asks for a stream of a network that has an ``unstreamable_reason``."""
    reason = network.unstreamable_reason
    is_in_stages = any(value.stage for value in network.values.values())
    if is_in_stages and all(layer.begins_sequence or not layer.resamples for layer in network.layers):
        advice = " one by one"
    else:
        late = ", or Model.delayed" if any(layer.ahead for layer in network.layers) else ""
        advice = f"; use Model.run on whole sequences{late}"
    return StreamingError(f"the model cannot stream: {reason}{advice}", reason=network.unstreamable_by_design)
