"""What a frame says of its colours changes no pixel: VideoInput's conversion does not ask."""

import av
import numpy as np
import pytest

from r2plus1d.video.convert import Converter

SIZE = (171, 128)
# AVColorSpace, AVColorRange, AVChromaLocation, AVColorTransferCharacteristic
LABELS = [(1, 1, 1, 1), (9, 2, 3, 16), (5, 2, 5, 6), (2, 0, 1, 2), (7, 1, 0, 13)]
NAMES = ('colorspace', 'color_range', 'chroma_location', 'color_trc')


def noise(name, labels=()):
    """A frame of noise; labels that this PyAV cannot set are left out."""
    frame = av.VideoFrame(96, 64, name)
    random = np.random.default_rng(0)
    for plane in frame.planes:
        plane.update(random.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    for attribute, value in zip(NAMES, labels):
        if hasattr(frame, attribute):
            setattr(frame, attribute, value)
    frame.pts = 7
    return frame


@pytest.mark.parametrize('labels', LABELS)
@pytest.mark.parametrize('name', ['yuv420p', 'yuvj420p', 'yuv444p10le', 'nv12', 'gray', 'bgra'])
def test_labels_change_no_pixel(name, labels):
    plain, labelled = noise(name), noise(name, labels)
    np.testing.assert_array_equal(Converter(SIZE)(labelled), Converter(SIZE)(plain))
    assert labelled.pts == 7
    assert (labelled.colorspace, labelled.color_range) == labels[:2]


def test_the_range_follows_from_the_format():
    """Black is 16 in most formats, 0 in those of JPEG and in gray."""
    for name, black in [('yuv420p', 16), ('yuvj420p', 0), ('gray', 0)]:
        frame = av.VideoFrame(96, 64, name)
        for number, plane in enumerate(frame.planes):
            plane.update(bytes([128 if number else black]) * plane.buffer_size)
        assert Converter(SIZE)(frame).max() == 0, name


def test_the_matrix_is_that_of_bt_601():
    frame = av.VideoFrame(96, 64, 'yuv420p')
    frame.colorspace = 1  # BT.709, which would give 227, 46, 114
    for plane, value in zip(frame.planes, (111, 126, 202)):
        plane.update(bytes([value]) * plane.buffer_size)
    pixels = Converter(SIZE)(frame)
    np.testing.assert_allclose(pixels[0, 0], [229, 51, 107], atol=2)


def test_format_and_size_may_change_within_a_video():
    converter = Converter(SIZE)
    for name in ('yuv420p', 'gray', 'yuv420p'):
        np.testing.assert_array_equal(converter(noise(name)), Converter(SIZE)(noise(name)))


def test_what_a_decoder_says_of_chroma_changes_no_pixel(make_video):
    with av.open(str(make_video(3))) as container:
        decoded = next(container.decode(video=0))
    plain = av.VideoFrame.from_ndarray(decoded.to_ndarray(), decoded.format.name)
    np.testing.assert_array_equal(Converter(SIZE)(decoded), Converter(SIZE)(plain))
