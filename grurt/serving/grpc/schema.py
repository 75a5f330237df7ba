"""The messages of the Open Inference Protocol over gRPC, with Triton's extensions, as far as the service speaks it.

They are described here and made when they are imported: no generated code, which would be tied to releases of protobuf,
and in a pool of their own, so that a process may have another's description of the same protocol beside it. On the wire
only the numbers and the types of fields count.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MessageOptions,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

SERVICE = "inference.GRPCInferenceService"
_PACKAGE = "grurt.inference"

_FIELDS = {
    "Nothing": "",
    "Live": "bool live = 1",
    "Ready": "bool ready = 1",
    "ModelName": "string name = 1, string version = 2",
    "ServerMetadata": "string name = 1, string version = 2, repeated string extensions = 3",
    "TensorMetadata": "string name = 1, string datatype = 2, repeated int64 shape = 3",
    "ModelMetadata": (
        "string name = 1, repeated string versions = 2, string platform = 3, repeated TensorMetadata inputs = 4, "
        "repeated TensorMetadata outputs = 5"
    ),
    "InferParameter": (
        "one bool bool_param = 1, one int64 int64_param = 2, one string string_param = 3, one double double_param = 4, "
        "one uint64 uint64_param = 5"
    ),
    "InferTensorContents": (
        "repeated bool bool_contents = 1, repeated int32 int_contents = 2, repeated int64 int64_contents = 3, "
        "repeated uint32 uint_contents = 4, repeated uint64 uint64_contents = 5, repeated float fp32_contents = 6, "
        "repeated double fp64_contents = 7, repeated bytes bytes_contents = 8"
    ),
    "InferTensor": (
        "string name = 1, string datatype = 2, repeated int64 shape = 3, map InferParameter parameters = 4, "
        "InferTensorContents contents = 5"
    ),
    "InferRequestedOutput": "string name = 1, map InferParameter parameters = 2",
    "ModelInferRequest": (
        "string model_name = 1, string model_version = 2, string id = 3, map InferParameter parameters = 4, "
        "repeated InferTensor inputs = 5, repeated InferRequestedOutput outputs = 6, "
        "repeated bytes raw_input_contents = 7"
    ),
    "ModelInferResponse": (
        "string model_name = 1, string model_version = 2, string id = 3, map InferParameter parameters = 4, "
        "repeated InferTensor outputs = 5, repeated bytes raw_output_contents = 6"
    ),
    "ModelStreamInferResponse": "string error_message = 1, ModelInferResponse infer_response = 2",
    "ModelInput": "string name = 1, DataType data_type = 2, repeated int64 dims = 4",
    "ModelOutput": "string name = 1, DataType data_type = 2, repeated int64 dims = 3",
    "ModelSequenceBatching": "uint64 max_sequence_idle_microseconds = 1",
    "ModelParameter": "string string_value = 1",
    "ModelConfig": (
        "string name = 1, string platform = 2, string backend = 17, int32 max_batch_size = 4, "
        "repeated ModelInput input = 5, repeated ModelOutput output = 6, ModelSequenceBatching sequence_batching = 13, "
        "map ModelParameter parameters = 14"
    ),
    "ModelConfigResponse": "ModelConfig config = 1",
    "StatisticDuration": "uint64 count = 1, uint64 ns = 2",
    "InferStatistics": "StatisticDuration compute_infer = 5",
    "ModelStatistics": (
        "string name = 1, string version = 2, uint64 inference_count = 4, uint64 execution_count = 5, "
        "InferStatistics inference_stats = 6"
    ),
    "ModelStatisticsResponse": "repeated ModelStatistics model_stats = 1",
    "RepositoryIndexRequest": "string repository_name = 1, bool ready = 2",
    "ModelIndex": "string name = 1, string version = 2, string state = 3, string reason = 4",
    "RepositoryIndexResponse": "repeated ModelIndex models = 1",
}
"""Messages, each with its fields: how often, type, name and number. ``one`` is a choice of one; maps are by text."""

_DATA_TYPES = (
    "INVALID",
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
)

_SCALARS = {
    name: getattr(FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32", "uint64")
}
_CHOICE = "choice"


def _described() -> FileDescriptorProto:
    file = FileDescriptorProto(name="grurt/inference.proto", package=_PACKAGE, syntax="proto3")
    kinds = file.enum_type.add(name="DataType")
    for number, name in enumerate(_DATA_TYPES):
        kinds.value.add(name=f"TYPE_{name}", number=number)
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field in filter(None, fields.split(", ")):
            _add_field(message, *field.split(" "))
    return file


def _add_field(message: DescriptorProto, *words: str) -> None:
    *how, type_name, name, _, number = words
    field = message.field.add(name=name, number=int(number), label=FieldDescriptorProto.LABEL_OPTIONAL)
    _set_type(field, type_name)
    if how == ["one"]:
        if not message.oneof_decl:
            message.oneof_decl.add(name=_CHOICE)
        field.oneof_index = 0
    elif how == ["repeated"]:
        field.label = FieldDescriptorProto.LABEL_REPEATED
    elif how == ["map"]:
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry", options=MessageOptions(map_entry=True))
        _add_field(entry, "string", "key", "=", "1")
        _add_field(entry, type_name, "value", "=", "2")
        field.label = FieldDescriptorProto.LABEL_REPEATED
        field.type_name = f".{_PACKAGE}.{message.name}.{entry.name}"


def _set_type(field: FieldDescriptorProto, name: str) -> None:
    if name in _SCALARS:
        field.type = _SCALARS[name]
        return
    field.type = FieldDescriptorProto.TYPE_ENUM if name == "DataType" else FieldDescriptorProto.TYPE_MESSAGE
    field.type_name = f".{_PACKAGE}.{name}"


_pool = DescriptorPool()
_pool.Add(_described())


def message_class(name: str) -> type[Message]:
    """Return the class of a message by its name."""
    return GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))  # type: ignore[no-any-return]


def choice_of(parameter: Any) -> Any:
    """Return the value of a parameter; None if it has none."""
    name = parameter.WhichOneof(_CHOICE)
    return None if name is None else getattr(parameter, name)
