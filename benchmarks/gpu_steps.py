"""What the stages of gpu_acceptance.py share: networks, clips and the device."""

import dataclasses
import gc

import numpy as np

from r2plus1d.devices import Devices
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network

SMALL_WIDTH = 0.125
LABELS = 400
SHADES = 7  # no chunk has so many clips or a multiple: the next one differs at each place


@dataclasses.dataclass(frozen=True)
class Setting:
    """Where it runs: `gpu` or `cpu`, and whether only little is computed."""

    kind: str
    tiny: bool

    @property
    def device(self):
        import torch

        return torch.device('cuda', 0) if self.kind == 'gpu' else torch.device('cpu')

    @property
    def devices(self):
        return Devices(self.kind, (0,))

    @property
    def precisions(self):
        """Those that the device has; the first one is enough to try the program."""
        from r2plus1d.backends.pytorch import about

        found = about.devices()
        precisions = found[1 if self.kind == 'gpu' else 0][1]
        return precisions[:1] if self.tiny else precisions

    def network(self, architecture='r2plus1d', depth=18, width=1.0):
        if self.tiny:
            depth, width = 10, SMALL_WIDTH
        return Network(architecture, depth, clip_length=8, num_labels=LABELS, width=width)

    def wait(self):
        """Return when the device has nothing left to do."""
        import torch

        if self.kind == 'gpu':
            torch.cuda.synchronize()

    def clean(self):
        """Give back what the last step held on the GPU: the next one may be another process."""
        import torch

        if self.kind == 'gpu':
            gc.collect()
            torch.cuda.empty_cache()


def describe(setting):
    import torch

    found = {'torch': torch.__version__, 'cuda': torch.version.cuda}
    found['cudnn'] = torch.backends.cudnn.version()
    if setting.kind == 'gpu':
        free, total = torch.cuda.mem_get_info(0)
        found['gpu'] = torch.cuda.get_device_name(0)
        found['capability'] = torch.cuda.get_device_capability(0)
        found['free_gib'], found['total_gib'] = round(free / 2**30, 1), round(total / 2**30, 1)
    return {**found, 'precisions': setting.precisions}


def parameters_of(network):
    """Random ones, with batch norms that do something."""
    rng = np.random.default_rng(0)
    parameters = random_parameters(network, 0)
    for name, values in parameters.items():
        if name.endswith(('_s', '_riv', '_rm', '_b')):
            values += rng.uniform(-0.2, 0.2, values.shape).astype(np.float32)
    return parameters


def clips_of(network, count):
    """uint8 clips, neighbours of another brightness."""
    rng = np.random.default_rng(1)
    clips = rng.integers(0, 256, (count, *network.data_shape), np.uint8)
    shades = 1 + np.arange(count, dtype=np.uint8) % SHADES
    return clips // shades.reshape(-1, 1, 1, 1, 1)


def distance(found, expected):
    """Largest difference, relative to the largest number; NaN counts as infinite."""
    difference = np.abs(found.astype(np.float64) - expected).max() / np.abs(expected).max()
    return float(np.nan_to_num(difference, nan=np.inf))
