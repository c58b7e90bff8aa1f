"""What a trainer begins with: a checkpoint, weights to fine-tune, or its initial values."""

import dataclasses
import logging
import pathlib
from collections.abc import Mapping
from typing import Optional, Union

import numpy as np

from r2plus1d.backends.base import Trainer
from r2plus1d.errors import InputError
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.network import Network
from r2plus1d.training import checkpoints
from r2plus1d.training.schedule import Schedule
from r2plus1d.weights.card import unseen_settings
from r2plus1d.weights.files import read_weights
from r2plus1d.weights.match import fit_parameter, match_parameters, with_present_names
from r2plus1d.weights.stored import open_weights

log = logging.getLogger(__name__)

RUN = 'training_run'  # key of a card, for what decides which record is in which batch


def start(
    trainer: Trainer,
    schedule: Schedule,
    *,
    folder: Union[str, pathlib.Path],
    pretrained: Optional[pathlib.Path] = None,
    db_type: Optional[str] = None,
    proceed: bool = True,
    resume: bool = False,
    pretrained_sha256: Optional[str] = None,
    card: Optional[Mapping[str, str]] = None,
) -> int:
    """Set what `trainer` begins with; return the number of epochs that are already done.

    Args:
        folder: of this run's checkpoints.
        pretrained: weights, or a checkpoint `..._N.mdl`, to begin from; None for neither.
        db_type: kind of weight file; None goes by what it begins with.
        proceed: continue from the later of `pretrained`, if it is a checkpoint, and the newest
            one in `folder`; otherwise only take the weights of `pretrained`.
        resume: continue from the newest one in `folder`, if there is one, without `proceed` too.
        pretrained_sha256: of `pretrained`; a run that began from other weights is not continued.
        card: what this run's checkpoints say; one with another `of_run`, or of a network that
            computes otherwise, is not continued.

    Raises:
        InputError: no such file or of another network; checkpoints that would be overwritten; a
            checkpoint that does not fit the schedule, or of a run that began from other weights.
    """
    epoch, path = to_continue(folder, trainer.network, pretrained, proceed=proceed)
    begins_elsewhere = path is not None and path == pretrained
    if path and not (proceed or resume):
        raise InputError(
            f'{path} would be overwritten: --resume=1 continues from it, another '
            '--file_store_path starts afresh'
        )
    if path:
        before = read_weights(path).card or {}
        if pretrained and not (proceed and checkpoints.epoch_of(pretrained)):
            _require_same_beginning(path, before, pretrained, pretrained_sha256)
        try:
            state = _state_to_continue(path, epoch, trainer.network, schedule)
            _require_same_run(path, before, card or {})
            if begins_elsewhere and epoch >= schedule.num_epochs:
                raise InputError(
                    f'{path} has {epoch} epochs behind it, and num_epochs is {schedule.num_epochs}'
                )
        except InputError as error:
            hint = '; --is_checkpoint=0 takes only its weights' if begins_elsewhere else ''
            raise InputError(f'{error}{hint}') from None
        trainer.restore(state)
        return epoch
    if pretrained:
        stored = open_weights(pretrained, db_type)
        taken = fine_tune(stored.trainable_blobs(), trainer.network, source=str(stored.path))
        state = trainer.state()
        trainer.restore(dataclasses.replace(state, parameters={**state.parameters, **taken}))
    else:
        log.info('%s from scratch', trainer.network.name)
    return 0


def to_continue(
    folder: Union[str, pathlib.Path],
    network: Network,
    pretrained: Optional[pathlib.Path],
    *,
    proceed: bool,
) -> tuple[int, Optional[pathlib.Path]]:
    """Return (epoch, path) of the checkpoint that is there to continue from, or (0, None).

    Args:
        folder, pretrained, proceed: as in `start`.
    """
    epoch, path = checkpoints.newest(folder, network)
    given = pretrained and proceed and checkpoints.epoch_of(pretrained) or 0
    return (given, pretrained) if given > epoch else (epoch, path)


def of_run(schedule: Schedule, seed: int) -> dict[str, str]:
    """Return {key: text} for a card: what a run that continues has to have in common."""
    each = {name: getattr(schedule, name) for name in ('batch_size', 'epoch_size', 'num_devices')}
    return {RUN: ', '.join(f'{name} {value}' for name, value in {**each, 'seed': seed}.items())}


def _require_same_beginning(path, before, pretrained, sha256):
    # Of what a checkpoint of an older release began with, nothing may be known.
    began = before.get('weights_sha256', None if RUN in before else sha256)
    if sha256 and began != sha256:
        raise InputError(
            f'{path} began {"from other weights than" if began else "from scratch, not from"} '
            f'{pretrained}: another --file_store_path (OUTPUT of the scripts) starts afresh'
        )


def _require_same_run(path, before, now):
    if before.get(RUN) and now.get(RUN) and before[RUN] != now[RUN]:
        raise InputError(
            f'{path} was trained with {before[RUN]} (over all devices), and this run has '
            f'{now[RUN]}: the shuffle would no longer fit'
        )
    was, is_now = unseen_settings(before), unseen_settings(now)
    for name in was.keys() & is_now.keys():
        if was[name] != is_now[name]:
            raise InputError(
                f'{path} was trained with {name} {was[name]}, and {name} is {is_now[name]}'
            )


def _state_to_continue(path, epoch, network, schedule):
    """The state in a checkpoint, which fits the schedule."""
    state = checkpoints.read(path, network)
    log.info('continuing from %s, after %d iterations', path, state.iteration)
    expected = epoch * schedule.iterations
    if state.iteration != expected:
        raise InputError(
            f'{path} is after {state.iteration} iterations; {epoch} epochs are now {expected}: '
            'epoch_size, batch_size or the number of devices differ'
        )
    return state


def fine_tune(
    blobs: Mapping[str, np.ndarray], network: Network, *, source: str
) -> dict[str, np.ndarray]:
    """Choose what a network to be fine-tuned takes from `blobs`; its last layer may start fresh.

    Args:
        blobs: {name: array} of a weight file.
        network: the Network.
        source: the file's name.

    Returns:
        {name: array} to be set; what is not in it keeps its initial values.

    Raises:
        InputError: a blob other than the last layer's is missing or misshapen.
    """
    blobs, shapes = with_present_names(blobs), parameter_shapes(network)
    last = [name for name in shapes if name.startswith((f'{network.logits}_', 'pred_logit_'))]
    fresh = [n for n in last if n not in blobs or fit_parameter(blobs[n], shapes[n]) is None]
    if fresh:
        fresh = last  # a layer comes from one place
    needed = {name: shape for name, shape in shapes.items() if name not in fresh}
    taken = match_parameters(blobs, needed, source=source)
    log.info('%d blobs from %s: %s', len(taken), source, ', '.join(taken))
    log.info('%d blobs fresh: %s', len(fresh), ', '.join(fresh) or 'none')
    return taken
