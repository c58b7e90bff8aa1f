"""A folder of weights with its settings, as the Hugging Face hub keeps them.

model.safetensors          the parameters, under PyTorch's names
config.json                the network, its input, the names of its classes (`id2label`)
preprocessor_config.json   the input once more, in the words of that library's processors
README.md                  what it is and how to run it
"""

import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.networks.input import Input
from r2plus1d.networks.network import Network
from r2plus1d.results.complete import make_folder_of, sync
from r2plus1d.results.given_file import reading
from r2plus1d.weights import card as cards
from r2plus1d.weights import safetensors_file, state_dict

Path = Union[str, pathlib.Path]

WEIGHTS, CONFIG = 'model.safetensors', 'config.json'
PREPROCESSOR, README = 'preprocessor_config.json', 'README.md'
MODEL_TYPE = 'r2plus1d'
NO_NAME = 'LABEL_{}'  # of a class without a name, as that library has it
BYTE = 255  # their means and deviations are of pixels from 0 to 1
LONGEST = 1 << 24  # bytes of a file of settings

TEXT = """---
library_name: r2plus1d
pipeline_tag: video-classification
tags:
- video-classification
- {architecture}
---

# {name}

A network `{architecture}` of depth {depth} for {num_labels} classes. Its clips have {length}
frames, {rate} apart in the video, resized to {size} and cropped to {crop} x {crop} pixels.

```python
import r2plus1d

model = r2plus1d.load('path/of/this/folder')
print(r2plus1d.predict(model, 'video.mp4'))
```

`model.safetensors` has the parameters under the names of torchvision's video networks. Batch norms
add {epsilon:g} to the variance. `config.json` says which network it is, and `id2label` the names
of the classes.
"""


def weights_of(path: pathlib.Path) -> pathlib.Path:
    """Return the weight file of a folder that has one, and any other path as it is."""
    inside = path / WEIGHTS
    return inside if path.is_dir() and inside.is_file() else path


def has_settings(path: Path) -> bool:
    """Whether `path` is the weight file of a folder with a config.json."""
    path = pathlib.Path(path)
    return path.name == WEIGHTS and (path.parent / CONFIG).is_file()


def write(
    folder: Path,
    network: Network,
    given: Input,
    parameters: Mapping[str, np.ndarray],
    class_names: Optional[Sequence[str]] = None,
) -> None:
    """Make the folder, complete or not at all.

    Raises:
        InputError: as require_free.
    """
    require_free(folder)
    folder = pathlib.Path(folder).resolve()
    make_folder_of(folder)
    partial = folder.with_name(f'{folder.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        arrays = state_dict.to_state_dict(network, parameters)
        safetensors_file.write(partial / WEIGHTS, arrays, {'format': 'pt'})
        (partial / CONFIG).write_text(_dump(_config(network, given, class_names)), 'utf-8')
        (partial / PREPROCESSOR).write_text(_dump(_preprocessor(given)), 'utf-8')
        (partial / README).write_text(_readme(network, given), 'utf-8')
        for path in (*partial.iterdir(), partial):
            sync(path)
        partial.replace(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def require_free(folder: Path) -> None:
    """Raise InputError unless `folder` is missing, or is empty and not the current one."""
    folder = pathlib.Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f'{folder} is there already; name a folder that is not')
    if folder.resolve() == pathlib.Path.cwd():
        raise InputError(f'{folder} is the current folder; name one that is not there')


def _dump(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + '\n'


def _config(network: Network, given: Input, class_names: Optional[Sequence[str]]) -> dict[str, Any]:
    names = class_names or [NO_NAME.format(n) for n in range(network.num_labels)]
    of_input = cards.describe(network, given, class_names=class_names)
    of_input.pop('labels', None)
    return {
        'model_type': MODEL_TYPE,
        'id2label': {str(number): name for number, name in enumerate(names)},
        'label2id': {name: number for number, name in enumerate(names)},
        'network': _plain(cards.of_network(network, batch_norm_folded=False)),
        'input': _plain(of_input),
    }


def _plain(card: Mapping[str, str]) -> dict[str, Any]:
    """Texts of a card as numbers and lists where they are such."""

    def plain(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text

    return {key: plain(text) for key, text in card.items()}


def _preprocessor(given: Input) -> dict[str, Any]:
    """The input as the library's image processors name it."""
    scale = 1 if given.flow else BYTE
    mean, deviation = ([number / scale for number in row] for row in given.statistics)
    size = {'height': given.scale_h, 'width': given.scale_w}
    if given.video_res_type == 'short_edge':
        size = {'shortest_edge': given.short_edge}
    return {
        'num_frames': given.length,
        'frame_sample_rate': given.rate,
        'do_resize': given.video_res_type != 'original',
        'size': size,
        'resample': 2,
        'do_center_crop': True,
        'crop_size': {'height': given.crop_size, 'width': given.crop_size},
        'do_rescale': given.flow is None,
        'rescale_factor': 1 / BYTE,
        'do_normalize': True,
        'image_mean': mean,
        'image_std': deviation,
    }


def _readme(network: Network, given: Input) -> str:
    sizes = {
        'scale': f'{given.scale_w} x {given.scale_h}',
        'short_edge': f'a short side of {given.short_edge}',
        'original': 'their own size',
    }
    return TEXT.format(
        architecture=network.architecture,
        name=network.name,
        depth=network.depth,
        num_labels=network.num_labels,
        length=given.length,
        rate=given.rate,
        size=sizes[given.video_res_type],
        crop=given.crop_size,
        epsilon=network.bn_epsilon,
    )


def read_card(folder: Path) -> dict[str, str]:
    """Return what the settings in `folder` say, {key: text} as weights.card has it.

    Settings that another program wrote may name the classes only.

    Raises:
        InputError: they cannot be read, or contradict each other; the message names the file.
    """
    path = pathlib.Path(folder) / CONFIG
    config = _object(path)
    card: dict[str, str] = {}
    for part in ('network', 'input'):
        for key, value in _part(config, part, path).items():
            card[key] = _text(value)
    strange = sorted(set(_part(config, 'network', path)) - cards.OF_NETWORK)
    if strange:
        raise InputError(f'{path}: {strange[0]} is nothing that is known of a network')
    names = _class_names(config, path)
    if names is not None:
        card['labels'] = json.dumps(names, ensure_ascii=False)
    beside = pathlib.Path(folder) / PREPROCESSOR
    if 'clip_length' in card and 'input_type' in card and beside.is_file():
        try:
            given = cards.input_of(cards.network_of(card)[0], card)
        except InputError as error:
            raise InputError(f'{path}: {error}') from None
        _require_same(beside, given)
    return card


def _object(path: pathlib.Path) -> dict[str, Any]:
    """An object of a JSON file; its numbers are texts."""
    with reading(path) as file:
        raw = file.read(LONGEST + 1)
    try:
        if len(raw) > LONGEST:
            raise ValueError(f'more than {LONGEST} bytes')
        content = json.loads(raw, parse_int=str, parse_float=str)
        if not isinstance(content, dict):
            raise ValueError('no object')
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path} is no settings in JSON: {error}') from None
    return content


def _part(config: Mapping[str, Any], name: str, path: pathlib.Path) -> dict[str, Any]:
    part = config.get(name, {})
    if not isinstance(part, dict):
        raise InputError(f'{path}: {name} is no object')
    return part


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return f'[{", ".join(map(str, value))}]' if isinstance(value, list) else str(value)


def _class_names(config: Mapping[str, Any], path: pathlib.Path) -> Optional[list[str]]:
    """The names in the order of their numbers, None where classes have numbers only."""
    found = _part(config, 'id2label', path)
    names = [found.get(str(number)) for number in range(len(found))]
    if not all(isinstance(name, str) for name in names):
        raise InputError(f'{path}: id2label does not name classes 0 to {len(found) - 1}')
    if names == [NO_NAME.format(number) for number in range(len(names))]:
        return None
    return [str(name) for name in names]


def _require_same(path: pathlib.Path, given: Optional[Input]) -> None:
    """Raise InputError if the preprocessor's file says anything else than the input."""
    found = _object(path)
    for key, value in _contradictions(found, _preprocessor(given) if given else {}):
        raise InputError(f'{path}: {key} is {found[key]}, and {CONFIG} says {value}')


def _contradictions(
    found: Mapping[str, Any], expected: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    for key, value in expected.items():
        same = json.loads(json.dumps(value), parse_int=str, parse_float=str)
        if key in found and found[key] != same:
            yield key, value
