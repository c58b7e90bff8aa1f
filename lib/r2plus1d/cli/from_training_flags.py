"""From the parsed options of tools/train_net.py to what they ask for."""

import argparse
import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager

from r2plus1d.backends.base import TrainerSettings
from r2plus1d.backends.choose import chosen_trainer, require_numbers
from r2plus1d.cli import flags, from_flags, weight_flags
from r2plus1d.devices import Devices, Shard
from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network
from r2plus1d.networks.stages import frozen_names, layer_rates
from r2plus1d.results.class_names import read_class_names
from r2plus1d.sources.shuffled import TrainingData
from r2plus1d.training.loop import LoopSettings, Test
from r2plus1d.training.schedule import Schedule
from r2plus1d.training.start import of_run, to_continue
from r2plus1d.training.testing import open_test
from r2plus1d.weights import card
from r2plus1d.weights.decided import decided, require_agreement
from r2plus1d.weights.files import read_weights
from r2plus1d.weights.stored import open_weights, require_pool1

log = logging.getLogger(__name__)

OF_SCHEDULE = ('epoch_size', 'num_epochs', 'base_learning_rate', 'step_epoch', 'gamma')
OF_TRAINER = (
    'trainer', 'weight_decay', 'seed', 'run_id', 'address', 'use_cudnn', 'cudnn_workspace_limit_mb',
)  # fmt: skip


# What fine-tuning is free to choose, whatever the weights were trained with
NOT_OF_PRETRAINED = (
    'num_labels', 'multi_label', 'pred_layer_name', 'use_dropout', 'use_convolutional_pred',
)  # fmt: skip


# What says which parameters there are, and what they do
OF_LAYERS = ('architecture', 'depth', 'width', 'num_channels', 'use_pool1')
OF_CLIPS = ('clip_length', 'crop_size', *card.CLIPS)  # keys of a card
OF_TORCHRUN = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_PORT')


def require_tests(args: argparse.Namespace) -> None:
    """Refuse options of the engine without tests after each epoch, which alone read them."""
    given = [name for name in flags.ENGINE if name in args.given.changed]
    if given and not args.test_data:
        raise InputError(f'{given[0]} is for the tests after each epoch: give test_data')


def take_pretrained(args: argparse.Namespace) -> None:
    """Let the weights in pretrained_model set the options of network and clips that are not given.

    The layers are theirs. What is given of the clips may differ, and the log says so. The last
    layer, dropout and how large crops are predicted are not theirs to decide.

    Raises:
        InputError: they cannot be read, or are of other layers than is given; nobody says how long
            the clips are.
    """
    args.pretrained_sha256 = None
    if args.pretrained_model is None:
        return
    stored = open_weights(args.pretrained_model, args.db_type)
    args.pretrained_sha256 = stored.digest
    known = decided(stored)
    fields = weight_flags.fields_of(known, args)
    flags_of = {field: flag for flag, field in fields.items()}
    given = {field: getattr(args, flag) for flag, field in fields.items() if flag in args.given}
    of_layers = {field: given[field] for field in OF_LAYERS if field in given}
    require_agreement(stored, of_layers, names=flags_of, hint='; leave the flag out')
    require_pool1(stored, given)
    weight_flags.require_length(stored, {**known, **given}, flags_of)
    kept = weight_flags.left_as_they_are(stored, args, known)
    for field in (field for field in known if field not in NOT_OF_PRETRAINED):
        if field not in given and field not in kept:
            setattr(args, flags_of[field], known[field])
        elif field in given and field not in OF_LAYERS and given[field] != known[field]:
            log.info(
                '%s is %s; the weights were trained with %s',
                flags_of[field],
                given[field],
                known[field],
            )


def take_labels(args: argparse.Namespace) -> None:
    """Let the class names say how many labels there are, unless num_labels is given.

    Raises:
        InputError: they cannot be read, or their number is not the one that is given.
    """
    if args.labels is None:
        args.class_names = None
        return
    count = args.num_labels if 'num_labels' in args.given else None
    args.class_names = read_class_names(args.labels, count)
    args.num_labels = len(args.class_names)


def take_rank(args: argparse.Namespace) -> None:
    """Let torchrun's variables, where they are set, say which process this is, and its GPU.

    Raises:
        InputError: some are missing or no integers; num_shards is given too, or too few GPUs.
    """
    args.address = None
    if not {'RANK', 'WORLD_SIZE'} <= set(os.environ) or chosen_trainer(args.trainer) != 'torch':
        return
    if {'num_shards', 'shard_id'} & args.given:
        raise InputError('num_shards and shard_id do not go with RANK and WORLD_SIZE of torchrun')
    host = os.environ.get('MASTER_ADDR')
    args.shard_id, args.num_shards, local, port = map(_from_environment, OF_TORCHRUN)
    if not host:
        raise InputError('RANK is set, and MASTER_ADDR is not; torchrun sets both')
    args.address = (host, port) if args.num_shards > 1 else None
    gpus = devices(args)
    if gpus.kind == 'gpu':
        if local >= len(gpus.ids):
            raise InputError(f'LOCAL_RANK is {local}, and there are {len(gpus.ids)} GPUs in gpus')
        args.gpus, args.num_gpus = [gpus.ids[local]], 0


def _from_environment(name):
    text = os.environ.get(name, '')
    if not text.isdigit():
        raise InputError(f'RANK is set, and {name} is {text!r}; torchrun sets it to a number')
    return int(text)


def devices(args: argparse.Namespace) -> Devices:
    """Return the Devices to train on.

    Raises:
        InputError: options that contradict each other, or GPUs that are named.
    """
    chosen = from_flags.devices(args)
    require_numbers(chosen)
    return chosen


def shard(args: argparse.Namespace) -> Shard:
    """Return this machine's part of the work."""
    return Shard(args.shard_id, args.num_shards)


def schedule(args: argparse.Namespace, devices: Devices) -> Schedule:
    """Return the Schedule over the devices of all machines."""
    count = len(devices.ids) * args.num_shards
    chosen = {name: getattr(args, name) for name in OF_SCHEDULE}
    return Schedule(batch_size=args.batch_size * count, num_devices=count, **chosen)


def loop_settings(args: argparse.Namespace, own_card: Mapping[str, str]) -> LoopSettings:
    """Return where and what the run writes, and when it gives up."""
    return LoopSettings(
        args.file_store_path,
        args.max_loss,
        args.max_failures,
        args.display_iter,
        safetensors_card=own_card if args.safetensors else None,
    )


def training_data(args: argparse.Namespace, devices: Devices) -> TrainingData:
    """Return this machine's batches of train_data; use it as a context manager."""
    return TrainingData(
        args.train_data,
        from_flags.training_clips(args),
        from_flags.record_needs(args),
        batch_size=args.batch_size * len(devices.ids),
        shard=shard(args),
        threads=args.num_decode_threads,
    )


def checkpoint_card(args: argparse.Namespace, network: Network, timing: Schedule) -> dict[str, str]:
    """Return what the checkpoints say of the network, its clips, its classes and their run.

    One that the run continues is looked at: it keeps saying of what weights the run began, and the
    log tells where its clips were others.

    Raises:
        InputError: that one cannot be read.
    """
    path = None
    if args.is_checkpoint or args.resume:
        _, path = to_continue(
            args.file_store_path, network, args.pretrained_model, proceed=args.is_checkpoint
        )
    before = (read_weights(path).card or {}) if path else {}
    described = card.describe(
        network,
        from_flags.clip_input(args),
        class_names=args.class_names,
        weights_sha256=before.get('weights_sha256') if path else args.pretrained_sha256,
    )
    now = {**described, **card.of_network(network, batch_norm_folded=False)}
    for key in OF_CLIPS if path != args.pretrained_model else ():  # of which it was told
        if before.get(key, now[key]) != now[key]:
            log.warning('%s is %s; %s was trained with %s', key, now[key], path, before[key])
    return {**now, **of_run(timing, args.seed)}


def trainer_settings(
    args: argparse.Namespace, network: Network, own_card: Mapping[str, str]
) -> TrainerSettings:
    """Return how the network is trained, and what its checkpoints say of it."""
    if args.batch_size % args.accumulate:
        raise InputError(
            f'accumulate is {args.accumulate}, and batch_size {args.batch_size} is no multiple '
            'of it'
        )
    rates, frozen = layer_rates(network, args.layer_rates), frozen_names(network, args.freeze)
    if set(rates) & set(frozen):
        raise InputError(
            f'layer_rates is {args.layer_rates}, and freeze {args.freeze}: they overlap'
        )
    return TrainerSettings(
        shard=shard(args),
        meeting_folder=args.file_store_path,
        card=own_card,
        precision=args.train_precision,
        parts=args.accumulate,
        sync_bn=args.sync_bn,
        compiles=args.compile,
        frozen=(*frozen, *(name for name, rate in rates.items() if not rate)),
        layer_rates={name: rate for name, rate in rates.items() if rate},
        **{name: getattr(args, name) for name in OF_TRAINER},
    )


def test(
    args: argparse.Namespace, network: Network, devices: Devices
) -> AbstractContextManager[Test]:
    """Return what gives the test on test_data: never mirrored, never cropped at random."""
    batch_size = args.batch_size * len(devices.ids)
    clips = from_flags.clip_settings(args, random_crop=False, mirror=False)
    return open_test(
        lambda: from_flags.open_reader(args, batch_size, clips=clips),
        network,
        devices=devices,
        engine=from_flags.engine_settings(args),
        folder=args.file_store_path,
        batch_size=batch_size,
    )
