"""Models behind the interface of onnxruntime's InferenceSession: the source's names, shapes, dtypes, and no state."""

from grurt.session.inference_session import InferenceSession
from grurt.session.ports import ModelMetadata, NodeArg

__all__ = ["InferenceSession", "ModelMetadata", "NodeArg"]
