"""A network with its parameters, what it is to be given, and its class names."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any, Optional, Union

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.networks.input import Input
from r2plus1d.networks.network import Network
from r2plus1d.weights import card
from r2plus1d.weights.decided import choose_head, decided, flatten, require_agreement
from r2plus1d.weights.onnx_model import OnnxModel
from r2plus1d.weights.save import require_suffix, save
from r2plus1d.weights.stored import LIKELY_LENGTHS, Stored, choose_use, open_weights

NETWORK_FIELDS = {field.name for field in dataclasses.fields(Network)} - {'clip_length'}
INPUT_FIELDS = {field.name for field in dataclasses.fields(Input)} - {'crop_size'}


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """What an engine needs to run, and a person to read what comes out.

    Attributes:
        network: which network.
        input: what it is to be given.
        parameters: {blob: float32 array}, complete; empty for an .onnx file.
        class_names: num_labels texts, or None.
        onnx: weights.onnx_model.OnnxModel, or None.
    """

    network: Network
    input: Input
    parameters: Mapping[str, np.ndarray] = dataclasses.field(repr=False)
    class_names: Optional[tuple[str, ...]] = dataclasses.field(default=None, repr=False)
    onnx: Optional[OnnxModel] = dataclasses.field(default=None, repr=False)

    @classmethod
    def load(cls, source: Union[str, 'os.PathLike[str]'], **settings: Any) -> 'Model':
        """Read a weight file, or the published weights of a name.

        Args:
            source: what weights.stored.open_weights takes: a file, a folder, or a name.
            settings: fields of Network and Input, for what the file does not say: `length` and
                `rate` of most weights, `flow`.

        Raises:
            InputError: a setting that is unknown or that the file contradicts, a clip length that
                neither says, weights that do not fit.
        """
        unknown = sorted(set(settings) - NETWORK_FIELDS - INPUT_FIELDS)
        if unknown:
            known = ', '.join(sorted(NETWORK_FIELDS | INPUT_FIELDS))
            raise InputError(f'{unknown[0]} is no setting of a model; known: {known}')
        stored = choose_use(choose_head(open_weights(source), settings), settings)
        require_agreement(stored, flatten(settings))
        given = _input_of(stored, settings)
        chosen = {name: settings[name] for name in NETWORK_FIELDS & set(settings)}
        fields: dict[str, Any] = {**chosen, **stored.network}
        fields.update(clip_length=given.length, crop_size=given.crop_size)
        if 'width' in chosen and not stored.onnx:
            fields['width'] = chosen['width']  # of several that make the same network
        network = Network(**fields)
        if network.num_channels != given.channels:
            raise InputError(
                f'{stored.path} takes {network.num_channels} channels; the input has '
                f'{given.channels}: flow=FlowSettings(...) says what optical flow it takes'
            )
        parameters = {} if stored.onnx else stored.parameters(network)
        return cls(network, given, parameters, stored.class_names, stored.onnx)

    def save(self, path: Union[str, 'os.PathLike[str]']) -> None:
        """Write a file, or a folder, that says what network it holds; see weights.save.save.

        Raises:
            InputError: another suffix; a model of an .onnx file, which has no parameters.
        """
        path = pathlib.Path(path)
        require_suffix(path)
        if self.onnx:
            raise InputError(f'{path}: a model of an .onnx file has no parameters to save')
        names = self.class_names
        save(path, self.network, self.parameters, given=self.input, class_names=names)

    @property
    def card(self) -> dict[str, str]:
        """What a file says of this model, see weights.card."""
        described = card.describe(self.network, self.input, class_names=self.class_names)
        return {**described, **card.of_network(self.network, batch_norm_folded=False)}

    @property
    def fingerprint(self) -> str:
        """Text that differs if a number of the weights does."""
        digest = hashlib.sha256()
        arrays = self.onnx.values if self.onnx else self.parameters
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            digest.update(f'{name} {array.dtype} {array.shape}'.encode())
            digest.update(array.tobytes())
        return f'sha256 {digest.hexdigest()[:16]}'

    def to_torch(self) -> Any:
        """Return a torch.nn.Module from N x C x T x H x W, normalized float32, to {blob: tensor}.

        The blobs are the class probabilities, the last layer and its features.

        Raises:
            InputError: there is no PyTorch 2; the model computes in 8 bits.
        """
        from r2plus1d.backends.pytorch.convert import to_module

        return to_module(self)


def _input_of(stored: Stored, settings: Mapping[str, Any]) -> Input:
    """The file's Input, or one of the settings where it has none."""
    if stored.input is not None:
        return stored.input
    names = INPUT_FIELDS | {'crop_size'}
    chosen = {**settings, **decided(stored)}
    if 'length' not in chosen:
        raise InputError(
            f'{stored.path} does not say how long its clips are: give length, which is likely '
            f'{", ".join(map(str, LIKELY_LENGTHS[:-1]))} or {LIKELY_LENGTHS[-1]}'
        )
    return Input(**{name: chosen[name] for name in names & set(chosen)})
