r"""Train a network on a video database, or fine-tune published weights on it.

PyTorch 2 trains where it is installed, Caffe2 elsewhere, with the same steps. The tests after each
epoch run through the engines of test_net.py.

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
import sys

from r2plus1d.backends.choose import chosen_trainer, find_trainer, open_trainer
from r2plus1d.backends.table import TRAINERS, TRAINING_PRECISIONS
from r2plus1d.cli import command_line, flag_types, flags, from_flags, from_training_flags
from r2plus1d.cli.main import run
from r2plus1d.cli.places import require_plot
from r2plus1d.networks.network import require_trainable
from r2plus1d.training import checkpoints
from r2plus1d.training.launch import hold_folder, rank_arguments, run_together
from r2plus1d.training.loop import train
from r2plus1d.training.start import start

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
    'resume': (
        flag_types.bit,
        False,
        '1: with is_checkpoint=0, continue from the newest checkpoint in file_store_path all the '
        'same, if there is one',
    ),
    'labels': (
        pathlib.Path,
        None,
        f'{flags.LABELS}; kept in the checkpoints; num_labels is their number when left out',
    ),
    'file_store_path': (pathlib.Path, pathlib.Path(), 'folder of checkpoints and the log'),
    'cudnn_workspace_limit_mb': (flag_types.integer(1), 64, 'memory of a convolution on a GPU'),
    'num_shards': (flag_types.integer(1), 1, 'machines that train together'),
    'shard_id': (flag_types.integer(0), 0, 'which of them this is, from 0'),
    'run_id': (str, 'r2plus1d', 'what tells this run from others in the same file_store_path'),
    'safetensors': (flag_types.bit, False, '1: each checkpoint also as a .safetensors file'),
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
    'plot': (flag_types.written, None, 'PNG of loss, accuracy and learning rate'),
}
TRAINER = {
    'trainer': (
        flag_types.one_of(*TRAINERS),
        'auto',
        'what trains; auto: torch where PyTorch 2 is installed, otherwise caffe2',
    ),
    'train_precision': (
        flag_types.one_of(*TRAINING_PRECISIONS),
        'fp32',
        'what torch computes in; tf32 is of GPUs. The parameters stay fp32',
    ),
    'accumulate': (
        flag_types.integer(1),
        1,
        'torch: parts in which a device computes its batch, one after the other, for less memory',
    ),
    'sync_bn': (flag_types.bit, False, '1: torch: batch norm over all processes together'),
    'compile': (
        flag_types.bit,
        False,
        '1: torch: compile the network for GPUs first, which takes a minute or more',
    ),
    'layer_rates': (
        str,
        None,
        'torch: factors of the learning rate of stages, such as stem..res3=0,res4=0.1; 0: frozen',
    ),
    'freeze': (str, None, 'torch: stages that stay as they are, such as stem..res4'),
}
WEIGHTS = {'db_type': flags.WEIGHTS['db_type']}
# Weights change from epoch to epoch: a cache would not be used again, nor a calibration for int8.
OF_TESTS = {
    **flags.ENGINE,
    'precision': (
        flag_types.one_of('fp32', 'tf32', 'bf16', 'fp16'),
        *flags.ENGINE['precision'][1:],
    ),
}
ENGINE = {
    name: (kind, default, f'of the tests: {text}')
    for name, (kind, default, text) in OF_TESTS.items()
    if name != 'engine_cache'
}
GROUPS = (
    TRAINING,
    TRAINER,
    WEIGHTS,
    flags.DATABASE,
    flags.NETWORK,
    flags.CLIPS,
    ENGINE,
    flags.DEVICES,
)


def main():
    changes = {'test_data': None, 'batch_size': 32, 'clip_per_video': 1}
    args = command_line.parse(__doc__, *GROUPS, **changes, random_crop=True, random_mirror=True)
    require_plot(args.plot)
    find_trainer(args.trainer)  # it is known first that it is installed
    from_training_flags.require_tests(args)
    from_training_flags.take_pretrained(args)
    from_training_flags.take_labels(args)
    from_training_flags.take_rank(args)
    network, devices = from_flags.network(args), from_training_flags.devices(args)
    require_trainable(network)
    if devices.kind == 'gpu' and len(devices.ids) > 1 and chosen_trainer(args.trainer) == 'torch':
        return train_on_each(devices, args)
    train_here(args, network, devices)
    return 0


def train_here(args, network, devices):
    """Train in this process, and print where the last checkpoint is."""
    folder, schedule = args.file_store_path, from_training_flags.schedule(args, devices)
    card = from_training_flags.checkpoint_card(args, network, schedule)
    loop = from_training_flags.loop_settings(args, card)
    settings = from_training_flags.trainer_settings(args, network, card)
    writes = settings.shard.index == 0
    with contextlib.ExitStack() as stack:
        stack.callback(hold_folder(folder, settings.shard).release)
        data = stack.enter_context(from_training_flags.training_data(args, devices))
        test = None
        if args.test_data and writes:
            test = stack.enter_context(from_training_flags.test(args, network, devices))
        trainer = stack.enter_context(open_trainer(network, devices=devices, settings=settings))
        first_epoch = start(
            trainer, schedule, folder=folder, pretrained=args.pretrained_model,
            db_type=args.db_type, proceed=args.is_checkpoint, resume=args.resume,
            pretrained_sha256=args.pretrained_sha256, card=card,
        )  # fmt: skip
        try:
            train(trainer, data, schedule, loop, first_epoch=first_epoch, test=test)
        finally:
            if args.plot and writes:
                plot_log(checkpoints.log_path(folder, network), args.plot)
        if first_epoch >= schedule.num_epochs:
            log.info('nothing was left to train: num_epochs is %d', schedule.num_epochs)
        elif args.profiling:
            for milliseconds, kind, blob in trainer.profile():
                log.info('%10.3f ms  %-24s %s', milliseconds, kind, blob)
    if writes:
        print(checkpoints.of_epoch(folder, network, schedule.num_epochs))


def train_on_each(devices, args):
    """Run this tool once for each GPU; return the exit status."""
    flags_of = [('--num_gpus=0', f'--gpus={number}') for number in devices.ids]
    machine = from_training_flags.shard(args)
    return run_together(
        rank_arguments([__file__, *sys.argv[1:]], flags_of, machine),
        folder=args.file_store_path,
        run_id=args.run_id,
        machine=machine,
    )


def plot_log(log_path, plot):
    """Draw the log as far as it goes."""
    if log_path.is_file():
        from r2plus1d.pictures import plots  # matplotlib takes a second

        plots.plot_log(log_path, plot)


if __name__ == '__main__':
    run(main)
