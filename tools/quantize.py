r"""A network that computes in 8 bits, calibrated on a video database, as an ONNX file.

Example:
    .venv/bin/python tools/quantize.py \
        --calibration_data=data/sample/test_lmdb \
        --load_model_path=data/sample/r2plus1d_18_8_w0.125.pkl \
        --clip_length_rgb=8 --num_labels=8 --width=0.125 --output=sample_int8.onnx
"""

import _start  # noqa: F401

# isort: split

import contextlib
import logging
import math
import pathlib

from r2plus1d.backends.choose import EngineSettings, open_engine, require
from r2plus1d.backends.installed import require_onnx
from r2plus1d.cli import flag_types, flags, from_flags
from r2plus1d.cli.main import TOO_MANY_FAILURES, run
from r2plus1d.cli.refusals import refuse_unread
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.evaluation.metrics import Accuracy, MeanAveragePrecision, score_video
from r2plus1d.results.class_names import read_class_names
from r2plus1d.results.progress import Progress
from r2plus1d.weights.files import load_parameters

log = logging.getLogger(__name__)

ENDING = '_int8.onnx'
TOP_K = 5
DATABASE = {name: flags.DATABASE[name] for name in ('use_local_file', 'num_decode_threads')}
CALIBRATION = {
    'calibration_data': (
        pathlib.Path,
        flags.REQUIRED,
        'LMDB of videos like those that the network is for, from its training set',
    ),
    'calibration_clips': (flag_types.integer(1), 300, 'about so many, of videos spread over it'),
    'test_data': (
        pathlib.Path,
        None,
        'LMDB on which fp32 and int8 are compared; calibration_data, which flatters, if left out',
    ),
    'test_videos': (flag_types.integer(0), 100, 'spread over test_data; 0: all'),
}


def main():
    require_onnx()
    require('openvino')
    from r2plus1d.backends.openvino import quantize
    from r2plus1d.cli import onnx_output
    from r2plus1d.weights import onnx_file

    groups = (flags.WEIGHTS, flags.NETWORK, flags.CLIPS, DATABASE, CALIBRATION, flags.ONNX)
    args = flags.parse(__doc__, *groups)
    refuse_unread(args)
    args.get_video_id = False
    quantize.require()
    network, path = from_flags.network(args), onnx_output.path_of(args, ENDING)
    outputs = onnx_output.wanted(args, network)
    if network.prediction not in outputs:
        raise InputError(f'features leaves out {network.prediction}, which is compared')
    names = read_class_names(args.labels, args.num_labels)
    metadata = onnx_output.described(args, network, names)
    parameters = load_parameters(args.load_model_path, args.db_type, network)
    test_data = args.test_data or args.calibration_data
    with open_spread(args, test_data, args.test_videos or None) as reader:
        clips = calibration_clips(args)
        model = quantize.quantize(network, parameters, clips, outputs, metadata=metadata)
        onnx_file.save(model, path)
        print(*onnx_output.summary(path, network, model), sep='\n')
        failed = compare(
            reader, network, {'fp32': parameters, 'int8': onnx_file.read(path)}, test_data
        )
    if failed:
        log.warning('exit status %d: %d videos were not compared', TOO_MANY_FAILURES, failed)
        return TOO_MANY_FAILURES
    return 0


def open_spread(args, path, videos):
    return from_flags.open_reader(args, args.num_decode_threads, path=path, spread=videos)


def calibration_clips(args):
    """uint8 or normalized float32 arrays of clips: in turn the first, second... of a video."""
    clips = []
    with open_spread(args, args.calibration_data, args.calibration_clips) as reader:
        each = min(math.ceil(args.calibration_clips / len(reader)), reader.settings.rows)
        for number, sample in enumerate(reader):
            if sample.failure:
                log.warning('%s is not used to calibrate: %s', sample.name, sample.failure)
                continue
            rows = [(number + i) % reader.settings.rows for i in range(each)]
            clips.append(sample.clips.pixels[rows])
    count = sum(map(len, clips))
    fewer = ', fewer than asked' if count < args.calibration_clips else ''
    log.info('calibrating on %d clips of %s%s', count, args.calibration_data, fewer)
    return clips


def compare(reader, network, sources, path):
    """Print the accuracy of each of {precision: what an engine loads}; return how many failed."""
    make = MeanAveragePrecision if reader.needs.multi_label else lambda: Accuracy(TOP_K)
    scores, same, clips, failed = {name: make() for name in sources}, 0, 0, 0
    with contextlib.ExitStack() as stack:
        engines = {
            name: stack.enter_context(opened(network, name, source))
            for name, source in sources.items()
        }
        progress = stack.enter_context(
            Progress(len(reader), unit='videos', every=10, title='comparing')
        )
        for sample in reader:
            if sample.failure:
                log.warning('%s failed: %s', sample.name, sample.failure)
                failed += 1
            else:
                best = score(sample, engines, scores, network.prediction)
                clips += len(best[0])
                same += int((best[0] == best[1]).sum())
            progress.step(f'{same} of {clips} clips alike')
    if not clips:
        log.warning('no video was scored: the accuracies below say nothing')
    print(f'{len(reader)} videos of {path}, {failed} failed')
    for name, total in scores.items():
        print(f'{name}: {total}')
    print(f'the same best class: {same} of {clips} clips')
    return failed


def score(sample, engines, scores, prediction):
    """Add a video to the scores of each engine; return each one's best classes of the clips."""
    best = []
    for name, engine in engines.items():
        rows = engine.run(sample.clips.pixels)[prediction]
        scores[name].add(score_video(rows, sample.labels))
        best.append(rows.argmax(axis=1))
    return best


@contextlib.contextmanager
def opened(network, precision, source):
    with open_engine(
        network,
        devices=Devices(),
        outputs=[network.prediction],
        settings=EngineSettings('openvino', precision),
        from_onnx=precision == 'int8',
    ) as engine:
        engine.load(source)
        yield engine


if __name__ == '__main__':
    run(main)
