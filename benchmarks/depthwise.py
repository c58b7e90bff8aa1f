"""Depthwise 3 x 3 x 3 convolutions in PyTorch on a CPU, computed in three ways.

    .venv-modern/bin/python benchmarks/depthwise.py

The shapes are those of ir-CSN-152 on one clip of 32 frames of 224 x 224 pixels. The ways: one 3D
convolution where the channels come last, the same where they come first, and the sum of three 2D
ones, one for each moment of the kernel. They take turns; the ratios are medians over the rounds,
above 1 where the first way is faster. The table is Markdown, on stdout. Where the processor has no
bfloat16, float32 is all.
"""

import statistics

from machine import description, seconds

from r2plus1d.backends import choose
from r2plus1d.cli import command_line, flag_types
from r2plus1d.cli.main import run

BENCHMARK = {'repeats': (flag_types.integer(1), 9, 'rounds')}
SHAPES = ((64, 32, 56, 56), (128, 16, 28, 28), (256, 8, 14, 14), (512, 4, 7, 7))  # C x T x H x W
PAD = (1, 1, 1)


def main():
    args = command_line.parse(__doc__, BENCHMARK)
    choose.require('torch')
    import torch

    from r2plus1d.backends.pytorch.device import cpu_has_bf16
    from r2plus1d.backends.pytorch.memory import keep_freed_memory

    keep_freed_memory()
    print(f'{description()}\n')
    print('| precision | shape | milliseconds | GFLOP/s | channels first | sum in 2D |')
    print('|---|---|---|---|---|---|')
    for dtype in (torch.float32, torch.bfloat16) if cpu_has_bf16() else (torch.float32,):
        for shape in SHAPES:
            ways = ways_of(shape, dtype)
            with torch.inference_mode():
                rounds = [[seconds(way) for way in ways] for _ in range(1 + args.repeats)][1:]
            first = statistics.median(each[0] for each in rounds)
            ratios = [statistics.median(r[i] / r[0] for r in rounds) for i in (1, 2)]
            operations = 2 * 27 * torch.Size(shape).numel()
            print(
                f'| {str(dtype).partition(".")[2]} | {" x ".join(map(str, shape))} | '
                f'{1000 * first:.2f} | {operations / first / 1e9:.0f} | '
                f'{ratios[0]:.1f} | {ratios[1]:.1f} |',
                flush=True,
            )


def ways_of(shape, dtype):
    """Functions without arguments that compute the same convolution."""
    import torch
    from torch.nn import functional

    first = torch.randn(1, *shape).to(dtype)
    last = first.contiguous(memory_format=torch.channels_last_3d)
    weight, channels = torch.randn(shape[0], 1, 3, 3, 3).to(dtype), shape[0]
    images = last.transpose(1, 2).flatten(0, 1)

    def in_2d():
        before, now, after = (
            functional.conv2d(images, weight[:, :, k], None, 1, 1, groups=channels)
            for k in range(3)
        )
        now[1:] += before[:-1]
        now[:-1] += after[1:]
        return now

    return [
        lambda: functional.conv3d(last, weight, None, 1, PAD, groups=channels),
        lambda: functional.conv3d(first, weight, None, 1, PAD, groups=channels),
        in_2d,
    ]


if __name__ == '__main__':
    run(main)
