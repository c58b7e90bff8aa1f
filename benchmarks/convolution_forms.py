"""PyTorch on a CPU: factored convolutions in 3D or as 2D ones, with and without fused endings.

    .venv-modern/bin/python benchmarks/convolution_forms.py

The forms are in one process and take turns, one clip at a time. In each round the seconds of the
first form are divided by those of the others; the ratio is the median of these. Above 1, the other
is faster. The table is Markdown, on stdout. Fused are a convolution and the sum and the ReLU
behind it. Where the processor has no bfloat16, float32 is all.
"""

import statistics

from machine import description, seconds

from r2plus1d.backends import choose
from r2plus1d.cli import command_line, flag_types, flags, from_flags
from r2plus1d.cli.main import run
from r2plus1d.networks.initial import random_parameters
from r2plus1d.weights.onnx_model import plan_of

BENCHMARK = {'repeats': (flag_types.integer(1), 15, 'rounds')}
GROUPS = (flags.NETWORK, flags.CLIPS, BENCHMARK)
FORMS = {
    '3D': {},
    '2D': {'as_images': True},
    '3D, fused': {'fused': True},
    '2D, fused': {'as_images': True, 'fused': True},
}


def main():
    args = command_line.parse(__doc__, *GROUPS, clip_length_rgb=8)
    choose.require('torch')
    from r2plus1d.backends.pytorch.device import cpu_has_bf16

    network = from_flags.network(args)
    print(f'{network.name}; {description()}\n')
    print('| precision | form | seconds | ratio | largest difference |')
    print('|---|---|---|---|---|')
    for precision in ('fp32', 'bf16') if cpu_has_bf16() else ('fp32',):
        rounds, differences = compare(network, precision, args.repeats)
        for number, name in enumerate(FORMS):
            middle = statistics.median(each[number] for each in rounds)
            ratio = statistics.median(each[0] / each[number] for each in rounds)
            print(
                f'| {precision} | {name} | {middle:.3f} | {ratio:.2f} | '
                f'{differences[number]:.1e} |',
                flush=True,
            )


def compare(network, precision, repeats):
    """([seconds of each form] of each round, differences relative to the largest output)."""
    import torch

    from r2plus1d.backends.pytorch.device import DTYPES
    from r2plus1d.backends.pytorch.memory import keep_freed_memory
    from r2plus1d.backends.pytorch.module import PlanModule

    keep_freed_memory()
    plan, values = plan_of(network, random_parameters(network, 0), ['softmax', 'final_avg'])
    dtype = DTYPES[precision]
    forms = [PlanModule(plan, values, dtype, **form) for form in FORMS.values()]
    data = torch.randn(1, *network.data_shape)
    data = data.contiguous(memory_format=torch.channels_last_3d).to(dtype)
    with torch.inference_mode():
        first, *others = (form(data)['final_avg'] for form in forms)
        rounds = [[seconds(lambda f=form: f(data)) for form in forms] for _ in range(repeats)]
    return rounds, [float((other - first).abs().max() / first.abs().max())
                    for other in (first, *others)]  # fmt: skip


if __name__ == '__main__':
    run(main)
