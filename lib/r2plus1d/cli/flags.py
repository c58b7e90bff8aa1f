"""Every command-line option once: its default, help and check. Tools pick groups of them.

Flags are written --name=value. Booleans are 0 or 1. Where the original took numbers for kinds,
the numbers and the words that they stand for are both taken.
"""

import pathlib
from typing import Any

from r2plus1d.backends.table import ENGINES, PRECISIONS, describe_auto, describe_precisions
from r2plus1d.cli.flag_types import (
    LARGEST_SEED,
    LONGEST_SIDE,
    MOST_CHANNELS,
    MOST_DEVICES,
    MOST_FRAMES,
    MOST_IN_BATCH,
    MOST_LABELS,
    MOST_REPLICAS,
    MOST_THREADS,
    bit,
    gpus,
    integer,
    integers,
    number,
    one_of,
    shard,
    word,
    written,
)
from r2plus1d.networks.network import BN_EPSILON
from r2plus1d.networks.zoo import ARCHITECTURES, BLOCKS, C3D
from r2plus1d.results.known_classes import COUNTS

Option = tuple[Any, Any, str]  # type, default, help

REQUIRED = object()
DECODE_TYPE = word('random', 'uniform', 'start')
VIDEO_RES_TYPE = word('scale', 'short_edge', 'original')
INPUT_TYPE = word('rgb', 'flow')
AGGREGATION = word('mean', 'max')
FLOW_DATA_TYPE = word('xy', 'xy_magnitude', 'xy_gray', 'xy_rgb')
LABELS = f'file of class names, one a line, or one of {", ".join(COUNTS)}'
FLOW_CHANNELS = {'xy': 2, 'xy_magnitude': 3, 'xy_gray': 3, 'xy_rgb': 5}

NETWORK = {
    'model_name': (one_of(*ARCHITECTURES, C3D), 'r2plus1d', 'network'),
    'model_depth': (integer(1), 18, f'depth: {", ".join(map(str, BLOCKS))}; c3d has only one'),
    'num_labels': (integer(1, MOST_LABELS), 101, 'number of classes'),
    'num_channels': (
        integer(1, MOST_CHANNELS),
        None,
        'channels of the input; follows from the input type when left out',
    ),
    'crop_size': (
        integer(1),
        112,
        'height and width of the input: 112, 224, or 128, 256, 320 with use_convolutional_pred',
    ),
    'clip_length_rgb': (integer(1, MOST_FRAMES), 16, 'frames of a clip, a multiple of 8'),
    'clip_length_of': (integer(1, MOST_FRAMES), 8, 'flow frames of a clip, a multiple of 8'),
    'input_type': (INPUT_TYPE, 'rgb', 'what the network sees'),
    'flow_data_type': (FLOW_DATA_TYPE, 'xy', 'channels of the optical flow'),
    'multi_label': (bit, False, '1: several labels a video, a sigmoid head'),
    'pred_layer_name': (str, None, 'name of the last layer, last_out_L{num_labels} when left out'),
    'use_pool1': (
        bit,
        False,
        '1: a max pool behind the stem; all published ir-csn and ip-csn have it',
    ),
    'use_convolutional_pred': (
        bit,
        False,
        '1: a convolution as the last layer, which takes larger crops (not for training)',
    ),
    'width': (number, 1.0, 'factor of every number of channels, for small networks'),
    'bn_epsilon': (number, BN_EPSILON, 'of batch norms; 1e-5 in networks of torchvision'),
    'use_dropout': (bit, False, '1: dropout before the last layer (has no effect in inference)'),
}

WEIGHTS = {
    'load_model_path': (
        pathlib.Path,
        REQUIRED,
        'weights of the network (.pkl, .mdl, .pth, .safetensors, .onnx, or a folder), or the name '
        'of published ones, such as r2.5d_d18_l8, which are downloaded',
    ),
    'db_type': (
        one_of('pickle', 'minidb'),
        None,
        'kind of weight file; goes by what the file begins with when left out',
    ),
}

DATABASE = {
    'test_data': (pathlib.Path, REQUIRED, 'LMDB of videos'),
    'use_local_file': (bit, False, '1: the database holds paths of video files'),
    'get_video_id': (bit, False, '1: every record must have a video id, and it is reported'),
    'num_decode_threads': (integer(1, MOST_THREADS), 4, 'videos decoded at the same time'),
}

CLIPS = {
    'scale_h': (integer(1, LONGEST_SIDE), 128, 'height to which frames are resized'),
    'scale_w': (integer(1, LONGEST_SIDE), 171, 'width to which frames are resized'),
    'video_res_type': (VIDEO_RES_TYPE, 'scale', 'how frames are resized'),
    'short_edge': (
        integer(1, LONGEST_SIDE),
        None,
        'short side with video_res_type 1; min(scale_h, scale_w) when left out',
    ),
    'sampling_rate_rgb': (integer(1), 1, 'step between the frames of a clip'),
    'sampling_rate_of': (integer(1), 2, 'step between the flow frames of a clip'),
    'frame_gap_of': (integer(1), 2, 'frames between the two of which the flow is computed'),
    'do_flow_aggregation': (bit, False, '1: follow the flow frame by frame over the gap'),
    'decode_type': (DECODE_TYPE, 'uniform', 'which clips of a video'),
    'clip_per_video': (integer(1), None, 'clips of a video; 10 when left out, 1 unless uniform'),
    'clip_start_positions': (integers, [], 'first frames of the clips, replacing the uniform ones'),
    'crop_per_clip': (integer(1), 1, 'crops of a clip, evenly along its longer side'),
    'random_crop': (bit, False, '1: crop anywhere instead of at the centre'),
    'random_mirror': (bit, False, '1: mirror every other clip, at random'),
    'use_truncated': (bit, False, '1: take what a file that was cut short still has, and warn'),
    'seed': (integer(0, LARGEST_SEED), 0, 'seed of every random choice'),
    'max_decode_seconds': (integer(1), 1800, 'processor time that one video may take'),
    'max_decode_memory_mb': (integer(256), 4096, 'memory of the process that decodes it'),
    'max_packet_mb': (integer(1), 2048, 'its compressed packets, which are held in memory'),
    'max_pixels': (integer(1), 10**11, 'pixels of all frames of it that are decoded'),
    'max_frame_pixels': (integer(1), 2**28, 'pixels of one frame of it'),
}

# Of the tools that write .onnx files
ONNX = {
    'load_model_path': (pathlib.Path, REQUIRED, 'weights of the network'),
    'features': (
        str,
        None,
        'blobs between commas that the file gives; the prediction, the last layer and final_avg '
        '(fc7 for c3d) when left out',
    ),
    'labels': (pathlib.Path, None, f'{LABELS}; kept in the file'),
    'output': (written, None, 'file to write; beside load_model_path when left out'),
    'overwrite': (bit, False, '1: replace what is there'),
}

ENGINE = {
    'engine': (
        one_of(*ENGINES),
        'auto',
        f'what runs the network; auto: {describe_auto()}',
    ),
    'precision': (
        one_of(*PRECISIONS),
        'fp32',
        f'what the network computes in; {describe_precisions()}',
    ),
    'engine_threads': (
        integer(0, MOST_THREADS),
        0,
        'threads of the network on a CPU; 0: as the engine likes',
    ),
    'deterministic': (bit, False, '1: torch gives the same bits in every run on the same GPU'),
    'engine_cache': (
        pathlib.Path,
        None,
        'folder in which openvino keeps networks as it has prepared them, to start faster',
    ),
}

DEVICES = {
    'gpus': (
        gpus,
        [],
        'GPUs between commas, such as 0,1, or their UUIDs (GPU-..., MIG-...); none: CPU (the '
        'original used GPU 0)',
    ),
    'num_gpus': (
        integer(0, MOST_DEVICES),
        0,
        'number of GPUs, counted from 0, instead of --gpus; 0: CPU',
    ),
    'cpu_replicas': (
        integer(1, MOST_REPLICAS),
        1,
        'copies of the network on the CPU, to try several devices without GPUs',
    ),
    'use_cudnn': (bit, True, '1: cuDNN on GPUs'),
    'batch_size': (integer(1, MOST_IN_BATCH), 6, 'videos on each device'),
}

COPY = {
    'copy_database': (
        bit,
        False,
        "1: copy test_data to this machine's own disk first (TMPDIR), once for all runs here; the "
        'copy stays',
    ),
}

# Of the tools whose work several machines or processes can share
SHARDS = {
    'shard': (
        shard,
        None,
        'i/n: do part i of n only, 0/n to n-1/n, each where and when you like; the last one to '
        'end merges them',
    ),
    'merge': (bit, False, '1: make the output of the n parts that --shard has done'),
}

RAY = {
    'ray': (
        str,
        None,
        'do all parts on a cluster of Ray and merge them: HOST:PORT of its head, or auto for the '
        'one that runs here; where none does, auto starts one of this machine',
    ),
    'ray_shards': (
        integer(1),
        None,
        'number of parts; follows from the records and the cluster when left out',
    ),
    'ray_cores': (
        integer(1, MOST_THREADS),
        None,
        'cores of each actor; 1 when left out, or with num_gpus 4 for each GPU of the actor',
    ),
}
