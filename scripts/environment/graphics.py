"""The NVIDIA GPUs of this machine, as its driver lists them. Any Python from 3.6 on runs this."""

import os

from find_python import output_of

CAFFE2_UP_TO = (
    7.5  # compute capability; Turing, of 2018, is the last that Caffe2's build has code for
)


def listed():
    """Return {number: (name, compute capability)}; {} without GPUs, or where nothing says."""
    query = ['nvidia-smi', '--query-gpu=index,name,compute_cap', '--format=csv,noheader']
    found = {}
    for line in (output_of(query) or '').splitlines():
        fields = [field.strip() for field in line.split(',')]
        try:
            found[int(fields[0])] = ', '.join(fields[1:-1]), float(fields[-1])
        except ValueError:
            continue
    return found


def has_gpu():
    return bool(listed()) or bool(output_of(['nvidia-smi', '-L']))


def newer_asked_for():
    """Return the name of a GPU among $GPUS that Caffe2 cannot use, or ''."""
    words = [word.strip() for word in os.environ.get('GPUS', '').split(',')]
    for word in words:
        if word.startswith(('GPU-', 'MIG-')):
            return word  # Caffe2 counts GPUs
    asked = {int(word) for word in words if word.isdigit()}
    if not asked:
        return ''
    newer = (n for i, (n, cap) in sorted(listed().items()) if i in asked and cap > CAFFE2_UP_TO)
    return next(newer, '')
