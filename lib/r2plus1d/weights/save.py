"""Parameters into a file or folder of any kind: by its suffix, complete or not at all."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Optional, Union

import numpy as np

from r2plus1d.backends.installed import require_onnx
from r2plus1d.errors import InputError
from r2plus1d.networks.input import Input
from r2plus1d.networks.network import Network
from r2plus1d.networks.zoo import HAVE_POOL1
from r2plus1d.results.hold import holding
from r2plus1d.weights import card as cards
from r2plus1d.weights import files, model_folder, safetensors_file, state_dict, torch_file

Path = Union[str, pathlib.Path]

FOLDER = ''  # the suffix of a folder's name
NEEDING_LENGTH = {FOLDER: 'a folder', '.onnx': 'an .onnx file'}
SUFFIXES = ('.pkl', '.mdl', '.pth', '.safetensors', '.onnx', FOLDER)


def require_suffix(path: Path) -> None:
    """Raise InputError unless `path` ends as a file of weights or as a folder."""
    if pathlib.Path(path).suffix not in SUFFIXES:
        known = ', '.join(suffix for suffix in SUFFIXES if suffix)
        raise InputError(f'{path} ends in none of {known}; without an ending it is a folder')


def save(
    path: Path,
    network: Network,
    parameters: Mapping[str, np.ndarray],
    *,
    given: Optional[Input] = None,
    class_names: Optional[Sequence[str]] = None,
    has_length: bool = True,
) -> None:
    """Write parameters with what is known of them.

    A .pkl and a .mdl have Caffe2's names; a .pth, a .safetensors and a folder have PyTorch's.

    Args:
        path: ends in .pkl, .mdl, .pth, .safetensors or .onnx; without an ending it is a folder as
            weights.model_folder has it.
        parameters: {blob: float32 array}, complete.
        given: what the network is to be given, None where nobody knows.
        class_names: num_labels texts.
        has_length: whether the clip length of `network` is known.

    Raises:
        InputError: another suffix, a folder that is there, something that the format needs and
            nobody knows.
        HeldError: another process writes it.
    """
    require_suffix(path)
    if pathlib.Path(path).suffix == FOLDER:
        model_folder.require_free(path)
    with holding(path):
        _save(pathlib.Path(path), network, parameters, given, class_names, has_length)


def _save(
    path: pathlib.Path,
    network: Network,
    parameters: Mapping[str, np.ndarray],
    given: Optional[Input],
    class_names: Optional[Sequence[str]],
    has_length: bool,
) -> None:
    suffix = path.suffix
    if suffix in NEEDING_LENGTH and not has_length:
        raise InputError(f'{path}: {NEEDING_LENGTH[suffix]} says how long its clips are; give that')
    if suffix == FOLDER:
        model_folder.write(path, network, given or _usual_input(network), parameters, class_names)
    elif suffix == '.onnx':
        _save_onnx(path, network, parameters, _card(network, given, class_names, True))
    else:
        card = _card(network, given, class_names, has_length)
        _save_tensors(path, suffix, network, parameters, card)


def _save_tensors(
    path: Path,
    suffix: str,
    network: Network,
    parameters: Mapping[str, np.ndarray],
    card: Mapping[str, str],
) -> None:
    if suffix == '.pkl':
        # Of dtypes of their own, equal arrays would be written as other bytes.
        plain = {name: np.asarray(array).astype(np.float32) for name, array in parameters.items()}
        files.save_pickle(path, plain, card)
    elif suffix == '.mdl':
        files.save_minidb(path, parameters, card)
    else:
        entries = state_dict.to_state_dict(network, parameters)
        if suffix == '.pth':
            torch_file.write(path, entries, card)
        else:
            text = json.dumps(dict(card), sort_keys=True)
            safetensors_file.write(path, entries, {'format': 'pt', cards.CARD: text})


def _card(
    network: Network,
    given: Optional[Input],
    class_names: Optional[Sequence[str]],
    has_length: bool,
) -> dict[str, str]:
    """All that is known; without a length only what the parameters do not tell."""
    if not has_length:
        card = {'bn_epsilon': str(network.bn_epsilon)}
        if network.architecture in HAVE_POOL1:
            card['use_pool1'] = str(int(network.use_pool1))
    else:
        card = cards.of_network(network, batch_norm_folded=False)
    if given is not None:
        card.update(cards.describe(network, given))
    if class_names is not None:
        card['labels'] = json.dumps(list(class_names), ensure_ascii=False)
        cards.class_names(network, card)  # as a reader checks it
    return card


def _usual_input(network: Network) -> Input:
    given = Input(length=network.clip_length, crop_size=network.crop_size)
    if given.channels != network.num_channels:
        raise InputError(
            f'nobody says of what optical flow the {network.num_channels} channels are; a folder '
            'has to'
        )
    return given


def _save_onnx(
    path: Path, network: Network, parameters: Mapping[str, np.ndarray], card: Mapping[str, str]
) -> None:
    """Batch norms stay as they are, so that the parameters can be read from the file again."""
    require_onnx()
    from r2plus1d.weights import onnx_file

    outputs = [network.prediction, network.logits, 'fc7' if network.is_c3d else 'final_avg']
    said = {key: text for key, text in card.items() if key not in cards.NETWORK}
    model = onnx_file.export(network, parameters, outputs, fold_batch_norm=False, metadata=said)
    onnx_file.save(model, path)
