"""What runs a network: batches of clips in, named arrays out."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Devices:
    """Where a network runs: `cpu` or `gpu`, and the number of each device (or CPU replica)."""

    kind: str = 'cpu'
    ids: tuple = (0,)

    def __str__(self):
        if self.kind == 'cpu':
            return 'the CPU' if len(self.ids) == 1 else f'{len(self.ids)} replicas on the CPU'
        return f'GPU {", ".join(map(str, self.ids))}'


def open_engine(network, *, devices, outputs, use_cudnn=True):
    """Return an engine for `network`: `load(parameters)`, then `run(data, label)`.

    Args:
        network: models.network.Network.
        devices: Devices; the rows of a batch are divided among them.
        outputs: names of the blobs that `run` returns.
        use_cudnn: cuDNN on GPUs.

    Raises:
        InputError: a device that is not there, an output that the network does not have.
    """
    # Imported here: Caffe2 takes half a second, and reading databases needs none of it.
    from r2plus1d.engines.caffe2 import Caffe2Engine

    return Caffe2Engine(network, devices=devices, outputs=outputs, use_cudnn=use_cudnn)
