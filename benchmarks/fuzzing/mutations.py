"""Ways to damage a model: bytes, fields of its protobuf messages, and its graph."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from onnx import AttributeProto, TensorProto, helper

INTEGERS = (0, 1, -1, 2, 3, 7, 255, 2**31 - 1, -(2**31), 2**31, 2**62, -(2**63), 2**63 - 1)
FLOATS = (0.0, -1.0, 1.0, 1e-45, 1e38, -1e38, float("nan"), float("inf"), float("-inf"))
TEXTS = (b"", b"x", b"y", b"Conv", b"Loop", b"../../etc/passwd", b"\xff\xfe", b"\x1b[31m", b"a" * 5000, b"ai.onnx.ml")
_MOST_FIELDS = 4
_INTEGER_TYPES = (
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_ENUM,
)
_FLOAT_TYPES = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)


def mutate_bytes(model: bytes, rng: random.Random) -> bytes:
    """Flip, drop, repeat or overwrite a few bytes."""
    content = bytearray(model)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not content:
            break
        at, length = rng.randrange(len(content)), rng.choice((1, 1, 2, 8, 64))
        kind = rng.randrange(5)
        if kind == 0:
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            content[at] = rng.randrange(256)
        elif kind == 2:
            del content[at : at + length]
        elif kind == 3:
            content[at:at] = content[at : at + length] * rng.choice((1, 3))
        else:
            content[at : at + length] = rng.randbytes(length)
    return bytes(content[: rng.randrange(1, len(content) + 1)] if content and rng.random() < 0.05 else content)


def mutate_fields(model: bytes, rng: random.Random) -> bytes:
    """Change a few fields of the messages a model is made of: set, clear, repeat, drop or swap them."""
    proto = onnx.ModelProto.FromString(model)
    for _ in range(rng.randint(1, _MOST_FIELDS)):
        message, field = rng.choice(list(_fields(proto)))
        _change(message, field, rng)
    return bytes(proto.SerializeToString())


def mutate_graph(model: bytes, rng: random.Random) -> bytes:
    """Change what a graph says: operators, edges, attributes, shapes, types, weights and versions."""
    proto = onnx.ModelProto.FromString(model)
    for _ in range(rng.randint(1, 3)):
        _GRAPH_CHANGES[rng.choice(sorted(_GRAPH_CHANGES))](proto, rng)
    return bytes(proto.SerializeToString())


MUTATIONS: Mapping[str, Callable[[bytes, random.Random], bytes]] = MappingProxyType(
    {"bytes": mutate_bytes, "fields": mutate_fields, "graph": mutate_graph}
)


def _fields(message: Message) -> Iterator[tuple[Message, FieldDescriptor]]:
    """Every field that a message and those within it have set, and one that it has not."""
    for field in message.DESCRIPTOR.fields:
        yield message, field
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in value if field.is_repeated else (value,):
                yield from _fields(inner)


def _change(message: Message, field: FieldDescriptor, rng: random.Random) -> None:
    if field.is_repeated:
        _change_repeated(getattr(message, field.name), field, rng)
    elif rng.random() < 0.2:
        message.ClearField(field.name)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        getattr(message, field.name).SetInParent()
    else:
        _assign(lambda value: setattr(message, field.name, value), field, rng)


def _change_repeated(values: Any, field: FieldDescriptor, rng: random.Random) -> None:
    kind = rng.randrange(4)
    if values and kind == 0:
        del values[rng.randrange(len(values))]
    elif values and kind == 1:
        again = values[rng.randrange(len(values))]
        values.extend([again] * rng.choice((1, 1, 50)))
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        values.add()
    elif values and kind == 2:
        at = rng.randrange(len(values))
        _assign(lambda value: values.__setitem__(at, value), field, rng)
    else:
        _assign(values.append, field, rng)


def _assign(put: Callable[[Any], Any], field: FieldDescriptor, rng: random.Random) -> None:
    if field.type in _INTEGER_TYPES:
        value: Any = rng.choice(INTEGERS) if rng.random() < 0.6 else rng.randrange(-4, 40)
    elif field.type in _FLOAT_TYPES:
        value = rng.choice(FLOATS)
    elif field.type == FieldDescriptor.TYPE_BYTES:
        value = rng.choice((*TEXTS, rng.randbytes(rng.choice((1, 4, 100)))))
    else:
        value = rng.choice(TEXTS).decode("utf-8", "ignore")
    try:
        put(value)
    except (ValueError, TypeError):  # out of the field's range
        put(type(value)(1) if isinstance(value, int) else value[:0])


def _change_operator(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    node.op_type = rng.choice(sorted({schema.name for schema in onnx.defs.get_all_schemas()}))
    if rng.random() < 0.2:
        node.domain = rng.choice(("com.microsoft", "strange", "ai.onnx.ml"))


def _rewire(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    names = [name for each in model.graph.node for name in (*each.input, *each.output)]
    names += [value.name for value in model.graph.initializer] + [""]
    slots = node.input if rng.random() < 0.8 else node.output
    if slots and rng.random() < 0.8:
        slots[rng.randrange(len(slots))] = rng.choice(names)
    else:
        slots.append(rng.choice(names))


def _drop_node(model: onnx.ModelProto, rng: random.Random) -> None:
    if len(model.graph.node) > 1:
        del model.graph.node[rng.randrange(len(model.graph.node))]


def _repeat_node(model: onnx.ModelProto, rng: random.Random) -> None:
    """The same node once more, mostly with outputs of its own and read in place of the first."""
    at = rng.randrange(len(model.graph.node))
    copy = onnx.NodeProto()
    copy.CopyFrom(model.graph.node[at])
    if rng.random() < 0.8 and copy.input and copy.output:
        copy.input[0], copy.name = copy.output[0], copy.name + "_again"
        fresh = copy.output[0] + "_again"
        copy.output[0] = fresh
        for later in model.graph.node[at + 1 :]:
            for slot, name in enumerate(later.input):
                if name == copy.input[0]:
                    later.input[slot] = fresh
    nodes = [*model.graph.node[: at + 1], copy, *model.graph.node[at + 1 :]]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _change_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if not node.attribute or rng.random() < 0.2:
        name = rng.choice(("axis", "axes", "group", "pads", "strides", "kernel_shape", "to", "mode", "perm", "alpha"))
        node.attribute.append(helper.make_attribute(name, rng.choice((rng.choice(INTEGERS), [1, 2], 0.5, "x"))))
        return
    attribute = rng.choice(list(node.attribute))
    if rng.random() < 0.2:
        node.attribute.remove(attribute)
    elif attribute.type == AttributeProto.INT:
        attribute.i = rng.choice(INTEGERS)
    elif attribute.type == AttributeProto.INTS:
        _change_repeated(attribute.ints, AttributeProto.DESCRIPTOR.fields_by_name["ints"], rng)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = rng.choice(FLOATS)
    else:
        attribute.s = rng.choice((b"nearest", b"SAME_UPPER", b"VALID", b"linear", *TEXTS))


def _change_shape(model: onnx.ModelProto, rng: random.Random) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    value = rng.choice(values)
    dims = value.type.tensor_type.shape.dim
    if dims and rng.random() < 0.9:
        dim = dims[rng.randrange(len(dims))]
        if rng.random() < 0.3:
            dim.dim_param = rng.choice(("n", "batch", ""))
        else:
            dim.dim_value = rng.choice(INTEGERS)
    else:
        value.type.tensor_type.shape.dim.add().dim_value = rng.choice((1, 2, 0))


def _change_type(model: onnx.ModelProto, rng: random.Random) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    rng.choice(values).type.tensor_type.elem_type = rng.choice(sorted(TensorProto.DataType.values()))


def _change_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    if not model.graph.initializer:
        return
    tensor = rng.choice(list(model.graph.initializer))
    kind = rng.randrange(4)
    if kind == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(INTEGERS)
    elif kind == 1:
        tensor.data_type = rng.choice(sorted(TensorProto.DataType.values()))
    elif kind == 2 and tensor.raw_data:
        content = bytearray(tensor.raw_data)
        at = rng.randrange(len(content))
        content[at : at + 4] = rng.choice((b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\xff\xff\x7f\x7f", b""))
        tensor.raw_data = bytes(content)
    else:
        model.graph.initializer.remove(tensor)


def _change_version(model: onnx.ModelProto, rng: random.Random) -> None:
    if rng.random() < 0.2:
        model.ir_version = rng.choice((0, 3, 4, 8, 10, 99))
    else:
        model.opset_import[0].version = rng.choice((0, 1, 7, 8, *range(9, 24), 99))


def _node(model: onnx.ModelProto, rng: random.Random) -> onnx.NodeProto:
    return model.graph.node[rng.randrange(len(model.graph.node))]


_GRAPH_CHANGES: Mapping[str, Callable[[onnx.ModelProto, random.Random], None]] = MappingProxyType(
    {
        "attribute": _change_attribute,
        "drop": _drop_node,
        "operator": _change_operator,
        "repeat": _repeat_node,
        "rewire": _rewire,
        "shape": _change_shape,
        "type": _change_type,
        "version": _change_version,
        "weight": _change_weight,
    }
)
