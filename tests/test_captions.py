"""What stands above the clips of a contact sheet, in words and drawn."""

import warnings

import numpy as np

from r2plus1d.pictures.captions import HEIGHT, Caption, draw_caption, make_captions

NAMES = ('left', 'right', 'up')
ROWS = {
    'labels': np.array([0, 2], np.int32),
    'keys': np.array(['07', '08']),
    'starts': np.array([0, 12]),
}


def texts(**changes):
    return [caption.text for caption in make_captions(**{**ROWS, **changes})]


def verdicts(probabilities, labels=ROWS['labels']):
    rows = {**ROWS, 'labels': labels, 'probabilities': np.array(probabilities, np.float32)}
    return [caption.is_right for caption in make_captions(**rows)]


def test_without_a_network_there_is_the_label():
    assert texts() == ['label: 0', 'label: 2']
    assert texts(class_names=NAMES) == ['label: left', 'label: up']
    captions = list(make_captions(**ROWS))
    assert [caption.place for caption in captions] == [
        'record 07, from frame 0',
        'record 08, from frame 12',
    ]
    assert [caption.is_right for caption in captions] == [None, None]


def test_the_predicted_class_has_its_name_and_its_probability():
    said = texts(probabilities=np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]), class_names=NAMES)
    assert said == [
        'label: left     predicted: left, 0.7000  ✓ right',
        'label: up     predicted: right, 0.6000  ✗ wrong',
    ]


def test_classes_without_names_are_numbers():
    said = texts(probabilities=np.array([[0.7, 0.3], [0.1, 0.9]]))
    assert [text.split('predicted: ')[1][:4] for text in said] == ['0, 0', '1, 0']


def test_other_weights_say_something_else():
    first, second = [[0.7, 0.2, 0.1]] * 2, [[0.1, 0.2, 0.7]] * 2
    assert verdicts(first) == [True, False]
    assert verdicts(second) == [False, True]
    assert not {*texts(probabilities=np.array(first))} & {*texts(probabilities=np.array(second))}


def test_one_of_several_labels_is_right():
    labels = np.array([[1, 0, 1], [0, 1, 0]])
    assert verdicts([[0.1, 0.2, 0.9], [0.1, 0.2, 0.9]], labels) == [True, False]
    assert texts(labels=labels, class_names=NAMES)[0] == 'label: left + up'


def test_right_wrong_and_neither_are_drawn_apart():
    drawn = [draw_caption(Caption('label: left', 'record 0', v), 896) for v in (None, True, False)]
    assert {band.shape for band in drawn} == {(HEIGHT, 896, 3)}
    assert {band.dtype for band in drawn} == {np.dtype(np.uint8)}
    grounds = [band[0, 0].astype(int) for band in drawn]
    for i, one in enumerate(grounds):
        for other in grounds[i + 1 :]:
            assert np.abs(one - other).max() > 40
            assert abs(one.mean() - other.mean()) > 5  # for those who do not see the colours
    assert all(band.max() == 255 for band in drawn)  # the letters


def ink(caption, width, columns):
    """Columns of a range that have a letter in them."""
    band = draw_caption(caption, width)[:, columns]
    return int((band != band[0, 0]).any(axis=(0, 2)).sum())


def test_what_is_long_is_drawn_smaller():
    short, long = Caption('label: left', 'record 0'), Caption('label: ' + 'long ' * 60, 'record 0')
    assert ink(short, 896, slice(300, 700)) == 0
    assert ink(long, 896, slice(-8, None)) == 0  # it ends within the band
    assert ink(long, 896, slice(300, 700)) > 200
    gap = draw_caption(long, 896)[4:-4, 300:]
    empty = (gap == gap[0, -1]).all(axis=(0, 2))
    assert max(map(len, ''.join('x' if e else ' ' for e in empty).split())) >= 8  # before `record`


def test_any_name_can_be_drawn():
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        for name in ("person's head", '$a_b', 'äß', '日本', ''):
            draw_caption(Caption(f'label: {name}', 'record 0'), 896)
