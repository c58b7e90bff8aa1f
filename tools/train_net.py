r"""Train a network on a video database, or fine-tune published weights on it.

Training is Caffe2's; the tests after each epoch run through the engines of test_net.py.

Example:
    .venv/bin/python tools/train_net.py --train_data=data/sample/test_lmdb \
        --clip_length_rgb=8 --num_labels=8 --width=0.125 --batch_size=4 \
        --epoch_size=16 --num_epochs=1 --file_store_path=output/trial
"""

import _start  # noqa: F401

# isort: split

import contextlib
import logging
import pathlib

import numpy as np

from r2plus1d.cli import flag_types, flags, from_flags
from r2plus1d.cli.main import run
from r2plus1d.devices import Shard
from r2plus1d.errors import InputError
from r2plus1d.evaluation.evaluate import EvaluationSettings, evaluate
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.sources.shuffled import TrainingData
from r2plus1d.training.schedule import Schedule
from r2plus1d.weights import card

log = logging.getLogger(__name__)

TRAINING = {
    'train_data': (pathlib.Path, flags.REQUIRED, 'LMDB of videos to train on'),
    'epoch_size': (flag_types.integer(1), 110000, 'clips of an epoch, over all devices'),
    'num_epochs': (flag_types.integer(1), 50, 'epochs in all'),
    'base_learning_rate': (flag_types.number, 0.003, 'of one device; times the number of devices'),
    'weight_decay': (flag_types.number_from_0, 0.005, 'L2 penalty of the weights'),
    'step_epoch': (flag_types.number, 10, 'epochs after which the rate is multiplied by gamma'),
    'gamma': (flag_types.number, 0.1, 'factor of the learning rate'),
    'pretrained_model': (pathlib.Path, None, 'weights, or a checkpoint ..._N.mdl, to begin from'),
    'is_checkpoint': (flag_types.bit, True, '1: continue from ..._N.mdl; 0: only take its weights'),
    'file_store_path': (pathlib.Path, pathlib.Path(), 'folder of checkpoints and the log'),
    'cudnn_workspace_limit_mb': (flag_types.integer(1), 64, 'memory of a convolution on a GPU'),
    'num_shards': (flag_types.integer(1), 1, 'machines that train together'),
    'shard_id': (flag_types.integer(0), 0, 'which of them this is, from 0'),
    'run_id': (str, 'r2plus1d', 'what tells this run from others in the same file_store_path'),
    'max_loss': (flag_types.number, 1e4, 'stop with an error above it'),
    'max_failures': (flag_types.integer(0), 0, 'stop if more records of an epoch fail'),
    'display_iter': (
        flag_types.integer(1),
        10,
        'iterations between two lines of progress in a log',
    ),
    'profiling': (
        flag_types.bit,
        False,
        '1: list the time of every operator at the end, on stderr',
    ),
    'plot': (pathlib.Path, None, 'PNG of loss, accuracy and learning rate'),
}
WEIGHTS = {'db_type': flags.WEIGHTS['db_type']}
# Weights change from epoch to epoch: a cache would not be used again, nor a calibration for int8.
OF_TESTS = {
    **flags.ENGINE,
    'precision': (flag_types.one_of('fp32', 'bf16', 'fp16'), *flags.ENGINE['precision'][1:]),
}
ENGINE = {
    name: (kind, default, f'of the tests: {text}')
    for name, (kind, default, text) in OF_TESTS.items()
    if name != 'engine_cache'
}
GROUPS = (
    TRAINING,
    WEIGHTS,
    flags.DATABASE,
    flags.NETWORK,
    flags.CLIPS,
    ENGINE,
    flags.DEVICES,
)


def main():
    # Here, so that run can say where there is no Caffe2.
    from r2plus1d.backends.caffe2.machines import meeting
    from r2plus1d.training import checkpoints
    from r2plus1d.training.loop import LoopSettings, train
    from r2plus1d.training.start import start

    changes = {'test_data': None, 'batch_size': 32, 'clip_per_video': 1}
    args = flags.parse(__doc__, *GROUPS, **changes, random_crop=True, random_mirror=True)
    require_engine_for_tests(args)
    network, devices = from_flags.network(args), from_flags.devices(args)
    shard = Shard(args.shard_id, args.num_shards)
    schedule = schedule_of(args, len(devices.ids) * shard.count)
    loop = LoopSettings(args.file_store_path, args.max_loss, args.max_failures, args.display_iter)
    with contextlib.ExitStack() as stack:
        data = stack.enter_context(training_data(args, shard, len(devices.ids)))
        test = None
        if args.test_data and shard.index == 0:
            test = stack.enter_context(tester(args, network, devices))
        meet = stack.enter_context(meeting(shard, args.file_store_path, args.run_id))
        net = stack.enter_context(training_net(args, network, devices, meet))
        first_epoch = start(
            net,
            schedule,
            folder=args.file_store_path,
            pretrained=args.pretrained_model,
            db_type=args.db_type,
            proceed=args.is_checkpoint,
        )
        try:
            train(net, data, schedule, loop, first_epoch=first_epoch, test=test)
        finally:
            plot(args, network)
        if args.profiling:
            for milliseconds, kind, blob in net.profile():
                log.info('%10.3f ms  %-24s %s', milliseconds, kind, blob)
    if shard.index == 0:  # it writes them
        print(checkpoints.checkpoint_path(args.file_store_path, network, schedule.num_epochs))


def require_engine_for_tests(args):
    """Refuse options of the engine that nothing reads, or that weights which change cannot have."""
    given = [name for name in ENGINE if name in args.given]
    if given and not args.test_data:
        raise InputError(f'{given[0]} is for the tests after each epoch: give test_data')


def schedule_of(args, num_devices):
    return Schedule(
        batch_size=args.batch_size * num_devices,
        epoch_size=args.epoch_size,
        num_epochs=args.num_epochs,
        base_learning_rate=args.base_learning_rate,
        num_devices=num_devices,
        step_epoch=args.step_epoch,
        gamma=args.gamma,
    )


def training_data(args, shard, num_devices):
    return TrainingData(
        args.train_data,
        from_flags.training_clips(args),
        from_flags.record_needs(args),
        batch_size=args.batch_size * num_devices,
        shard=shard,
        threads=args.num_decode_threads,
    )


def training_net(args, network, devices, meet):
    from r2plus1d.backends.caffe2.trainer import TrainingNet

    described = card.describe(network, from_flags.clip_input(args))
    return TrainingNet(
        network,
        devices=devices,
        weight_decay=args.weight_decay,
        seed=args.seed,
        meet=meet,
        use_cudnn=args.use_cudnn,
        cudnn_workspace_limit_mb=args.cudnn_workspace_limit_mb,
        card={**described, **card.of_network(network, batch_norm_folded=False)},
    )


@contextlib.contextmanager
def tester(args, network, devices):
    """Give a function from parameters to the accuracies on the test database.

    Raises:
        InputError: also what the engine lacks, so that it is known before an epoch is trained.
    """
    try_engine(args, network, devices)
    args.file_store_path.mkdir(parents=True, exist_ok=True)
    settings = EvaluationSettings(
        batch_size=args.batch_size * len(devices.ids),
        failures=args.file_store_path / 'test_failures.csv',
    )
    clips = from_flags.clip_settings(args, random_crop=False, mirror=False)

    def test(parameters):
        # Opened anew, as fast as keeping it: between the tests all memory is training's.
        with from_flags.engine(args, network, [network.prediction]) as engine:
            engine.load(parameters)
            result = evaluate(reader, engine, settings)
        if result.ended:
            raise KeyboardInterrupt
        return result.score.shares

    with from_flags.open_reader(args, settings.batch_size, clips=clips) as reader:
        yield test


def try_engine(args, network, devices):
    """Open the engine of the tests with parameters of this network, whatever their values."""
    shapes = parameter_shapes(network)
    with from_flags.engine(args, network, [network.prediction]) as engine:
        engine.load({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
        log.info('tests: engine %s, %s, on %s', engine.name, engine.precision, devices)


def plot(args, network):
    """Draw the log as far as it goes."""
    from r2plus1d.training import checkpoints

    log_path = args.file_store_path / f'{checkpoints.checkpoint_stem(network)}_log.csv'
    if args.plot and args.shard_id == 0 and log_path.is_file():
        from r2plus1d.pictures.plots import plot_log

        plot_log(log_path, args.plot)


if __name__ == '__main__':
    run(main)
