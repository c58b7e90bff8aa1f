"""The class names of public data sets, which come with the package: line n is class n - 1."""

import functools
import os
import pathlib
from typing import Union

FOLDER = pathlib.Path(__file__).with_name('classes')
# name: number of classes. docs/predict.md says where the names are from.
COUNTS = {'kinetics400': 400, 'hmdb51': 51, 'ucf101': 101, 'sports1m': 487}
KINETICS, SPORTS = 'kinetics400', 'sports1m'


def is_known(name: Union[str, 'os.PathLike[str]']) -> bool:
    """Whether `name` is that of a list here, and there is no file of this name."""
    return os.fspath(name) in COUNTS and not pathlib.Path(name).exists()


@functools.lru_cache(maxsize=len(COUNTS))
def known_names(name: str) -> tuple[str, ...]:
    """Return the class names of a data set, a key of COUNTS, in the order of its classes."""
    text = (FOLDER / f'{name}.txt').read_text(encoding='utf-8')
    return tuple(text.splitlines())
