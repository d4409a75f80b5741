# SPDX-License-Identifier: Apache-2.0
"""What an ONNX file contains, read without running it and without the onnx package.

Only the fields that decide whether a model may be loaded are read (onnx.proto, ModelProto and
below): opsets, operators, nested graphs, local functions, and tensors kept in other files. The
reader is strict: what it cannot follow is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 16  # graphs within attributes within graphs; real models nest two or three

# Field numbers of onnx.proto.
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_FUNCTION = 7, 8, 25
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 22, 23
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14

# AttributeProto's floats (field 7), ints (8) and short strings (9), an element a field: a forest
# has a hundred thousand of them, and none decides anything. Possessive: a run costs no memory.
_SHORT_STRING = b"|".join(b"\\x4a\\x%02x.{%d}" % (length, length) for length in range(16))
_ATTRIBUTE_VALUES = re.compile(
    rb"(?:\x40[\x80-\xff]{0,9}+[\x00-\x7f]|\x3d.{4}|" + _SHORT_STRING + rb")++", re.DOTALL
)


class MalformedModel(ValueError):
    """The bytes are no ONNX model; the message says where reading stopped."""


@dataclass(slots=True)
class ModelContent:
    """What the file asks a runtime to do; the standard domain is "" in `operators` and `opsets`."""

    opsets: dict[str, int] = field(default_factory=dict)
    operators: set[tuple[str, str]] = field(default_factory=set)
    functions: int = 0
    subgraphs: int = 0
    external_tensors: int = 0


def read_content(model: bytes) -> ModelContent:
    """The operators, opsets and outside references of an ONNX model.

    Raises MalformedModel.
    """
    content = ModelContent()
    graphs = 0
    for number, value in _fields(memoryview(model)):
        if number == _MODEL_GRAPH:
            graphs += 1
            _read_graph(_message(value, "graph"), content, 0)
        elif number == _MODEL_OPSET:
            _read_opset(_message(value, "opset_import"), content)
        elif number == _MODEL_FUNCTION:
            content.functions += 1
    if graphs != 1 or not content.operators:
        raise MalformedModel(f"{graphs} graphs with {len(content.operators)} kinds of operator")
    return content


def _read_opset(message: memoryview, content: ModelContent) -> None:
    domain, version = "", 0
    for number, value in _fields(message):
        if number == _OPSET_DOMAIN:
            domain = _text(value)
        elif number == _OPSET_VERSION and isinstance(value, int):
            version = value
    content.opsets[_plain(domain)] = version


def _read_graph(message: memoryview, content: ModelContent, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise MalformedModel(f"graphs nest deeper than {_MAX_DEPTH}")
    for number, value in _fields(message):
        if number == _GRAPH_NODE:
            _read_node(_message(value, "node"), content, depth)
        elif number == _GRAPH_INITIALIZER:
            _read_tensor(_message(value, "initializer"), content)
        elif number == _GRAPH_SPARSE:
            _read_sparse(_message(value, "sparse initializer"), content)


def _read_node(message: memoryview, content: ModelContent, depth: int) -> None:
    operator, domain = "", ""
    for number, value in _fields(message):
        if number == _NODE_OP:
            operator = _text(value)
        elif number == _NODE_DOMAIN:
            domain = _text(value)
        elif number == _NODE_ATTRIBUTE:
            _read_attribute(_message(value, "attribute"), content, depth)
    content.operators.add((_plain(domain), operator))


def _read_attribute(message: memoryview, content: ModelContent, depth: int) -> None:
    for number, value in _fields(message, _ATTRIBUTE_VALUES):
        if number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
            _read_tensor(_message(value, "tensor"), content)
        elif number in (_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES):
            _read_sparse(_message(value, "sparse tensor"), content)
        elif number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
            content.subgraphs += 1
            _read_graph(_message(value, "subgraph"), content, depth + 1)


def _read_sparse(message: memoryview, content: ModelContent) -> None:
    for number, value in _fields(message):
        if number in (1, 2):  # SparseTensorProto.values, .indices
            _read_tensor(_message(value, "tensor"), content)


def _read_tensor(message: memoryview, content: ModelContent) -> None:
    for number, value in _fields(message):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0):
            content.external_tensors += 1


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _message(value: int | memoryview, what: str) -> memoryview:
    if isinstance(value, int):
        raise MalformedModel(f"{what} is a number, not a message")
    return value


def _text(value: int | memoryview) -> str:
    try:
        return bytes(_message(value, "name")).decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedModel(f"a name is not UTF-8: {error}") from None


def _fields(
    message: memoryview, skipped: re.Pattern[bytes] | None = None
) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values of one protobuf message (protobuf's encoding guide), without runs of
    whole fields that `skipped` matches.
    """
    position, end = 0, len(message)
    while position < end:
        if skipped and (run := skipped.match(message, position)):
            position = run.end()
            continue
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == _BYTES:
            length, position = _varint(message, position)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise MalformedModel(f"wire type {wire} at byte {position} of a message")
        if number == 0 or length > end - position:
            raise MalformedModel(f"field {number} of {length} bytes at byte {position} of {end}")
        yield number, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise MalformedModel(f"a number does not end by byte {position} of {len(message)}")
