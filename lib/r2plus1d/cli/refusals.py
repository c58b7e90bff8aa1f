"""Which flag is read when: a flag that would do nothing is refused, by its name.

A flag whose value is its default is never refused, so that old commands go on working.
"""

import argparse
import dataclasses
from typing import Callable, Union

from r2plus1d.errors import InputError

ONNX_SUFFIX = '.onnx'
OLD_DB_TYPE = 'pickle'  # the default before weights were known by what they begin with


class Given(set):
    """Names of the flags on a command line.

    Attributes:
        changed: those of them whose value is not the default.
        tool: name of the tool, None if it is unknown.
    """

    def __init__(self, names: 'set[str]', *, changed: 'set[str]', tool: 'str | None') -> None:
        super().__init__(names)
        self.changed = changed
        self.tool = tool


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


ALWAYS = 'always read'
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
NO_NETWORK = Unread('here: no network is run', lambda a: True)
NO_OUTPUT = Unread('without output', lambda a: a.output is None)
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
NO_DOWNLOAD = Unread('without download', lambda a: not a.download)
KINETICS = Unread('with dataset=kinetics', lambda a: a.dataset == 'kinetics')
NO_SHUFFLE = Unread('with shuffle=0', lambda a: not a.shuffle)

Rule = Union[Unread, 'tuple[Unread, ...]', str]

# A text says why a flag is never refused here. A flag that has several meanings is in READ_BY.
READ: 'dict[str, Rule]' = {
    # what goes in
    'test_data': ALWAYS,
    'videos': 'refused with test_data, by the tool',
    'train_data': ALWAYS,
    'calibration_data': ALWAYS,
    'calibration_clips': ALWAYS,
    'test_videos': ALWAYS,
    'input_dir': ALWAYS,
    'input_dir1': ALWAYS,
    'input_dir2': ALWAYS,
    'file_count': ALWAYS,
    'runs': ALWAYS,
    'list_file': ALWAYS,
    'dataset': ALWAYS,
    'annotations': ALWAYS,
    'subset': KINETICS,
    'use_local_file': ALWAYS,
    'get_video_id': ALWAYS,
    'num_decode_threads': ALWAYS,
    'num_threads': ALWAYS,
    'num_iter': ALWAYS,
    'num_iterations': ALWAYS,
    'num_records': ALWAYS,
    'max_clip': ALWAYS,
    'use_list': ALWAYS,
    'use_video_id': ALWAYS,
    'use_start_frame': 'refused without use_list, by the tool',
    'shuffle': ALWAYS,
    # which network
    'load_model_path': 'extraction is run with other features too, for which it is read',
    'db_type': ONNX_FILE,
    'model_name': ALWAYS,
    'model_depth': 'scripts give it for c3d too, and c3d is named after it',
    'num_labels': ALWAYS,
    'num_channels': ALWAYS,
    'crop_size': ALWAYS,
    'clip_length_rgb': 'the recipe of extract_feature_kinetics_of.sh gives it for optical flow too',
    'clip_length_of': NO_FLOW,
    'input_type': ALWAYS,
    'flow_data_type': NO_FLOW,
    'multi_label': ALWAYS,
    'pred_layer_name': ALWAYS,
    'width': ALWAYS,
    'use_dropout': C3D,
    'check': ALWAYS,
    'download': CHECK,
    'cache': NO_DOWNLOAD,
    'mirror': NO_DOWNLOAD,
    # which clips
    'scale_h': (ORIGINAL_SIZE, SHORT_EDGE_GIVEN),
    'scale_w': (ORIGINAL_SIZE, SHORT_EDGE_GIVEN),
    'video_res_type': ALWAYS,
    'short_edge': NO_SHORT_EDGE,
    'sampling_rate_rgb': FLOW,
    'sampling_rate_of': NO_FLOW,
    'frame_gap_of': NO_FLOW,
    'do_flow_aggregation': NO_FLOW,
    'decode_type': 'refused with clip_start_positions unless uniform, by ClipSettings',
    'clip_per_video': CLIP_STARTS,
    'clip_start_positions': ALWAYS,
    'crop_per_clip': 'refused with random_crop, by ClipSettings',
    'random_crop': ALWAYS,
    'random_mirror': ALWAYS,
    'seed': NO_RANDOM_CHOICE,
    'stride': 'refused without videos, by the tool',
    'clip_length': ALWAYS,
    # what runs it
    'engine': 'as load_model_path',
    'precision': 'as load_model_path',
    'engine_threads': GPUS,
    'engine_cache': 'refused unless the engine is openvino, when it is chosen',
    'gpus': ALWAYS,
    'num_gpus': ALWAYS,
    'cpu_replicas': 'refused with GPUs, with the devices',
    'use_cudnn': CPU,
    'batch_size': ALWAYS,
    # training
    'epoch_size': ALWAYS,
    'num_epochs': ALWAYS,
    'base_learning_rate': ALWAYS,
    'weight_decay': ALWAYS,
    'step_epoch': ALWAYS,
    'gamma': ALWAYS,
    'pretrained_model': ALWAYS,
    'is_checkpoint': 'at 0 it also keeps a run from continuing',
    'file_store_path': ALWAYS,
    'cudnn_workspace_limit_mb': (CPU, NO_CUDNN),
    'num_shards': ALWAYS,
    'shard_id': ALWAYS,
    'run_id': ONE_MACHINE,
    'max_loss': ALWAYS,
    'profiling': ALWAYS,
    # what comes out
    'features': ALWAYS,
    'top_k': NO_OUTPUT,
    'aggregation': ALWAYS,
    'alpha': ALWAYS,
    'output': ALWAYS,
    'output_path': ALWAYS,
    'output_file': ALWAYS,
    'output_format': ALWAYS,
    'output_clip_accuracy': ALWAYS,
    'save_model_path': ALWAYS,
    'labels': NO_OUTPUT,
    'overwrite': ALWAYS,
    'if_different': 'the sample of extract_feature_kinetics.sh gives it beside any overwrite',
    'get_start_frame': ALWAYS,
    'sanity_check': ALWAYS,
    'list_blobs': 'it lists and ends: the other flags are those of the command that it is added to',
    'stats': ALWAYS,
    'plot': 'machines that train together are given the same flags; the first one draws',
    'failures': ALWAYS,
    'max_failures': ALWAYS,
    'max_missing': ALWAYS,
    'on_error': ALWAYS,
    'display_iter': ALWAYS,
    'raw': ALWAYS,
    'sheet': ALWAYS,
    'json': ALWAYS,
    'training': 'refused without json, by the tool',
    'fold_batch_norm': ALWAYS,
    'half': ALWAYS,
    'split': ALWAYS,
    'videos_per_class': ALWAYS,
    'num_splits': ALWAYS,
}
REFUSED_BY_TRAIN_NET = 'refused without test_data, by the tool'
READ_BY: 'dict[str, dict[str, Rule]]' = {
    'test_net': {'top_k': NO_TOP_K, 'max_failures': FIRST_FAILURE},
    'train_net': {
        'db_type': NO_PRETRAINED,
        'clip_per_video': (NO_TESTS, CLIP_STARTS),
        'clip_start_positions': NO_TESTS,
        'decode_type': NO_TESTS,
        'crop_per_clip': NO_TESTS,
        'seed': ALWAYS,
        'engine': REFUSED_BY_TRAIN_NET,
        'precision': REFUSED_BY_TRAIN_NET,
    },
    'show_clips': {
        'model_name': NO_NETWORK,
        'model_depth': NO_NETWORK,
        'pred_layer_name': NO_NETWORK,
        'width': NO_NETWORK,
        'use_dropout': NO_NETWORK,
    },
    'export_onnx': {'labels': ALWAYS},
    'quantize': {'labels': ALWAYS},
    'random_weights': {'seed': ALWAYS},
    'create_sample': {'seed': ALWAYS},
    'create_list': {'labels': ALWAYS, 'split': KINETICS},
    'create_video_db': {'seed': NO_SHUFFLE},
}


def rules(tool: str, flag: str) -> 'tuple[Unread, ...]':
    """When a flag of a tool does nothing; KeyError for a flag that is not in the table."""
    rule = READ_BY.get(tool, {}).get(flag) or READ[flag]
    if isinstance(rule, str):
        return ()
    return rule if isinstance(rule, tuple) else (rule,)


def refuse_unread(args: argparse.Namespace, *, weights_are_read: bool = True) -> None:
    """Refuse flags that were given and would do nothing.

    Args:
        args: parsed options, with `given` as flags.parse makes it.
        weights_are_read: whether what a weight file says is in `args`; otherwise what it may
            still say decides nothing.

    Raises:
        InputError: names the first such flag in alphabetical order, its value and the reason.
    """
    if args.given.tool is None:
        return
    for flag in sorted(args.given.changed):
        for rule in rules(args.given.tool, flag):
            is_known = weights_are_read or rule.decided_by in args.given or not rule.decided_by
            if is_known and rule.holds(args):
                raise InputError(
                    f'{flag}={_shown(args, flag)} does nothing {rule.when}; leave it out'
                )


def _shown(args, flag):
    value = getattr(args, flag)
    return int(value) if isinstance(value, bool) else value


def _has_onnx_file(args):
    path = getattr(args, 'load_model_path', None)
    return path is not None and str(path).endswith(ONNX_SUFFIX)
