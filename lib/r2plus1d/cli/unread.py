"""The cases in which a flag does nothing, each once."""

import argparse
import dataclasses
from typing import Callable

ONNX_SUFFIX = '.onnx'
OLD_DB_TYPE = 'pickle'  # the default before weights were known by what they begin with


@dataclasses.dataclass(frozen=True)
class Unread:
    """When a flag does nothing.

    Attributes:
        when: the case in words, to follow `does nothing`.
        holds: whether parsed options are such a case.
        decided_by: a flag that a weight file may set; nothing is known before it is read.
    """

    when: str
    holds: Callable[[argparse.Namespace], bool]
    decided_by: str = ''


NO_FLOW = Unread('without input_type=flow', lambda a: a.input_type != 'flow', 'input_type')
FLOW = Unread('with input_type=flow', lambda a: a.input_type == 'flow', 'input_type')
ORIGINAL_SIZE = Unread(
    'with video_res_type=original', lambda a: a.video_res_type == 'original', 'video_res_type'
)
SHORT_EDGE_GIVEN = Unread(
    'with short_edge',
    lambda a: a.video_res_type == 'short_edge' and 'short_edge' in a.given,
    'video_res_type',
)
NO_SHORT_EDGE = Unread(
    'without video_res_type=short_edge',
    lambda a: a.video_res_type != 'short_edge',
    'video_res_type',
)
CLIP_STARTS = Unread(
    'with clip_start_positions, which says how many clips there are',
    lambda a: bool(a.clip_start_positions) and a.clip_per_video != 10,
)
NO_RANDOM_CHOICE = Unread(
    'without a random choice (decode_type=random, random_crop, random_mirror)',
    lambda a: not (a.decode_type == 'random' or a.random_crop or a.random_mirror),
)
C3D = Unread(
    'with model_name=c3d, which has dropout always', lambda a: a.model_name == 'c3d', 'model_name'
)
ONNX_FILE = Unread(
    'with an .onnx file, which says itself what it is',
    lambda a: _has_onnx_file(a) and a.db_type != OLD_DB_TYPE,
)
CPU = Unread('on a CPU', lambda a: not (a.gpus or a.num_gpus))
GPUS = Unread('on GPUs', lambda a: bool(a.gpus or a.num_gpus))
NO_CUDNN = Unread('with use_cudnn=0', lambda a: not a.use_cudnn)
NO_NETWORK = Unread(
    'without load_model_path: no network is run', lambda a: a.load_model_path is None
)
NO_SHEET = Unread('without sheet', lambda a: a.sheet is None)
NO_OUTPUT = Unread('without output', lambda a: a.output is None)
NO_DATABASE = Unread('without test_data', lambda a: a.test_data is None)
NO_OUTPUT_NOR_REPORT = Unread(
    'without output or report', lambda a: a.output is None and a.report is None
)
NO_REPORT = Unread('without report', lambda a: a.report is None)
NO_VIDEOS = (NO_REPORT, Unread('with mistakes=0', lambda a: a.mistakes == 0))
NO_TOP_K = Unread(
    'with multi_label=1 and without output',
    lambda a: a.multi_label and a.output is None,
    'multi_label',
)
FIRST_FAILURE = Unread('with on_error=fail', lambda a: a.on_error == 'fail')
NO_TESTS = Unread('without test_data: it is for the tests', lambda a: a.test_data is None)
NO_PRETRAINED = Unread(
    'without pretrained_model', lambda a: a.pretrained_model is None and a.db_type != OLD_DB_TYPE
)
ONE_MACHINE = Unread('with num_shards=1', lambda a: a.num_shards == 1)
CHECK = Unread('with check', lambda a: a.check)
NO_CHECK = Unread('with check=0', lambda a: not a.check)
NO_DOWNLOAD = Unread('without download', lambda a: not a.download)
KINETICS = Unread('with dataset=kinetics', lambda a: a.dataset == 'kinetics')
NOT_PER_VIDEO = Unread('without output_format=per_video', lambda a: a.output_format != 'per_video')
NO_PROBABILITIES = Unread(
    'without softmax or prob among features',
    lambda a: not {'softmax', 'prob'} & {name.strip() for name in a.features.split(',')},
)
NO_DENSE_CLIPS = Unread('without clips=dense', lambda a: a.clips != 'dense')
NO_ANNOTATE = Unread('without annotate', lambda a: a.annotate is None)
NO_ANNOTATE_NOR_SHARD = Unread(
    'without annotate or shard', lambda a: a.annotate is None and a.shard is None
)
CHECKPOINT = Unread('with is_checkpoint=1, which continues anyway', lambda a: a.is_checkpoint)
TEST_LIST = Unread('with test_list, which says what is held out', lambda a: a.test_list is not None)
MULTI_LABEL = Unread(
    'with multi_label=1: a video has several classes', lambda a: a.multi_label, 'multi_label'
)
NO_RAY = Unread('without ray', lambda a: a.ray is None)
NO_SHUFFLE = Unread('with shuffle=0', lambda a: not a.shuffle)


def _has_onnx_file(args):
    path = getattr(args, 'load_model_path', None)
    return path is not None and str(path).endswith(ONNX_SUFFIX)
