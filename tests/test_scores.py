"""From clips to videos to totals."""

import numpy as np
import pytest

from r2plus1d.errors import InputError
from r2plus1d.evaluation.metrics import (
    Accuracy,
    MeanAveragePrecision,
    average_precision,
    rank,
    score_video,
)

CLIPS = np.array([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.1, 0.45, 0.45]], np.float32)


def test_a_video_is_its_clips_aggregated():
    mean = score_video(CLIPS, (1,), aggregation='mean')
    np.testing.assert_allclose(mean.probabilities, CLIPS.mean(axis=0))
    assert mean.ranking.tolist() == [2, 1, 0]
    assert (mean.num_clips, mean.clips_right) == (3, 1)  # the third clip's tie goes to class 1
    most = score_video(CLIPS, (1,), aggregation='max')
    np.testing.assert_allclose(most.probabilities, [0.5, 0.45, 0.6])
    assert most.ranking.tolist() == [2, 0, 1]


def test_ties_go_to_the_lower_class():
    assert rank(np.array([0.25, 0.5, 0.25])).tolist() == [1, 0, 2]


def test_running_accuracy():
    accuracy = Accuracy(top_k=2)
    for label in (0, 1, 2):
        accuracy.add(score_video(CLIPS, (label,)))
    assert (accuracy.videos, accuracy.clips) == (3, 9)
    assert (accuracy.clips_right, accuracy.top1_right, accuracy.topk_right) == (3, 1, 2)
    assert str(accuracy) == 'clip: 0.33333, top 1: 0.33333, top2: 0.66667'


def test_nothing_scored_is_zero_not_an_error():
    assert str(Accuracy(top_k=5)) == 'clip: 0.00000, top 1: 0.00000, top5: 0.00000'
    assert MeanAveragePrecision().value == 0


def test_top_k_of_nothing_is_refused():
    with pytest.raises(InputError, match='top_k is 0'):
        Accuracy(top_k=0)


def test_average_precision_by_hand():
    truths = np.array([True, False, True, False])
    assert average_precision(np.array([0.9, 0.8, 0.7, 0.6]), truths) == pytest.approx(
        (1 + 2 / 3) / 2
    )
    assert average_precision(np.array([0.1, 0.8, 0.2, 0.6]), truths) == pytest.approx(
        (1 / 3 + 2 / 4) / 2
    )
    # Equal scores cannot be told apart: whatever their order, the precision is that of all of them.
    for truths in ([True, False], [False, True]):
        assert average_precision(np.array([0.5, 0.5]), np.array(truths)) == pytest.approx(0.5)


def test_mean_average_precision_is_over_the_classes_that_occur():
    precision = MeanAveragePrecision()
    for probabilities, labels in (([0.9, 0.1, 0.3], (0,)), ([0.8, 0.2, 0.9], (1,))):
        precision.add(score_video(np.array([probabilities], np.float32), labels))
    assert precision.value == pytest.approx(1.0)
    precision.add(score_video(np.array([[0.95, 0.3, 0.1]], np.float32), (1,)))
    assert precision.value == pytest.approx((1 / 2 + 1) / 2)


def test_the_smallest_k():
    accuracy = Accuracy(1)
    accuracy.add(score_video(np.array([[0.2, 0.8]]), (1,)))
    assert accuracy.shares == (1, 1, 1)
    with pytest.raises(InputError, match='top_k is 0; at least 1'):
        Accuracy(0)
