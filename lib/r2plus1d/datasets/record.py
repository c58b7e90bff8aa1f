"""One record of a database of videos: a serialized `caffe2.TensorProtos`. Needs no Caffe2.

video        STRING (or BYTE)  the encoded file, or its path
label        INT32             one class, or several
start frame  INT32             optional: first frame of the clip
video id     INT64             optional: which video the clip belongs to
"""

import re
from dataclasses import dataclass
from typing import Optional

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from r2plus1d.errors import RecordError

INT32, BYTE, STRING, INT64 = 2, 3, 4, 10  # caffe2.TensorProto.DataType
MAX_VIDEO_BYTES = 2**31 - 2**16  # a protobuf message has to stay below 2 GiB

MAX_PATH_BYTES = 4096
CONTROL = re.compile(rb'[\x00-\x1f\x7f]')


def _messages():
    """Return the class of caffe2.TensorProtos, with the fields of TensorProto that records use.

    They are described by hand in a pool of their own, which every version of protobuf can read and
    which does not meet Caffe2's own description in the same process.
    """
    field = descriptor_pb2.FieldDescriptorProto
    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    file = descriptor_pb2.FileDescriptorProto(name='r2plus1d_record.proto', package='r2plus1d')
    tensor = file.message_type.add(name='TensorProto')
    # data_type is an enumeration in caffe2.proto: the same bytes, but unknown types stay visible
    tensor.field.add(name='data_type', number=2, type=field.TYPE_INT32, label=one)
    tensor.field.add(name='byte_data', number=5, type=field.TYPE_BYTES, label=one)
    tensor.field.add(name='string_data', number=6, type=field.TYPE_BYTES, label=many)
    for name, number, kind in (
        ('int32_data', 4, field.TYPE_INT32),
        ('int64_data', 10, field.TYPE_INT64),
    ):
        packed = descriptor_pb2.FieldOptions(packed=True)
        tensor.field.add(name=name, number=number, type=kind, label=many, options=packed)
    tensors = file.message_type.add(name='TensorProtos')
    name = '.r2plus1d.TensorProto'
    tensors.field.add(name='protos', number=1, type=field.TYPE_MESSAGE, label=many, type_name=name)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindMessageTypeByName('r2plus1d.TensorProtos')
    if hasattr(message_factory, 'GetMessageClass'):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)  # protobuf 3


TensorProtos = _messages()


class DamagedRecord(bytes):
    """The bytes of a record that are not those that were written; `decode` refuses them."""


@dataclass(frozen=True)
class Record:
    """One video, or one clip of it.

    Attributes:
        video: the encoded file, or the bytes of its path.
        labels: int32 class indices, at least one.
        start_frame: first frame of the clip (int32), or None.
        video_id: int64 that the clips of a video share, or None.
    """

    video: bytes
    labels: tuple[int, ...]
    start_frame: Optional[int] = None
    video_id: Optional[int] = None


def encode(record: Record) -> bytes:
    """Return the bytes that Caffe2 would store for `record`."""
    message = TensorProtos()
    message.protos.add(data_type=STRING, string_data=[record.video])
    message.protos.add(data_type=INT32, int32_data=record.labels)
    if record.start_frame is not None:
        message.protos.add(data_type=INT32, int32_data=[record.start_frame])
    if record.video_id is not None:
        message.protos.add(data_type=INT64, int64_data=[record.video_id])
    return message.SerializeToString()


def decode(value: bytes) -> Record:
    """Return the Record in the bytes `value`.

    Raises:
        RecordError: it is something else, or damaged.
    """
    if isinstance(value, DamagedRecord):
        raise RecordError(
            f'damaged: its {len(value)} bytes and key have another checksum than when they were '
            'written'
        )
    try:
        tensors = TensorProtos.FromString(value).protos
    except DecodeError:
        raise RecordError(f'not a caffe2.TensorProtos ({len(value)} bytes)') from None
    if len(tensors) < 2:
        raise RecordError(f'{len(tensors)} tensors; a record has a video and a label at least')
    video, label, *others = tensors
    if label.data_type != INT32:
        raise RecordError(f'the label has data type {label.data_type}, not {INT32} (INT32)')
    if not label.int32_data:
        raise RecordError('the label is empty')
    start_frame, video_id = _start_and_id(others)
    return Record(_video(video), tuple(label.int32_data), start_frame, video_id)


def _video(tensor):
    if tensor.data_type == STRING:
        if len(tensor.string_data) != 1:
            raise RecordError(f'{len(tensor.string_data)} strings in place of a video')
        data = tensor.string_data[0]
    elif tensor.data_type == BYTE:
        data = tensor.byte_data
    else:
        raise RecordError(
            f'the video has data type {tensor.data_type}, not {STRING} (STRING) or {BYTE} (BYTE)'
        )
    if not data:
        raise RecordError('the video is empty')
    return data


def _start_and_id(tensors):
    found = {}
    for tensor in tensors:
        kind = tensor.data_type
        if kind not in (INT32, INT64):
            raise RecordError(
                f'a tensor of data type {kind} after the label; '
                f'{INT32} (INT32, start frame) and {INT64} (INT64, video id) are known'
            )
        what, values = (
            ('start frame', tensor.int32_data) if kind == INT32 else ('video id', tensor.int64_data)
        )
        if what in found or len(values) != 1:
            raise RecordError(f'{len(found.get(what, ())) + len(values)} values for the {what}')
        found[what] = values
    start_frame, video_id = (found.get(what, (None,))[0] for what in ('start frame', 'video id'))
    if start_frame is not None and start_frame < 0:
        raise RecordError(f'the start frame is {start_frame}')
    return start_frame, video_id


def holds_path(record: Record) -> bool:
    """Return whether the record's video is the path of one.

    A path is short and has no control characters. Every container's first bytes have some (the
    NULs of MP4, MOV, AVI, Ogg and MPEG, the 0x1a of Matroska and WebM, the 0x01 of FLV).
    """
    return len(record.video) <= MAX_PATH_BYTES and not CONTROL.search(record.video)
