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
from r2plus1d.evaluation.predictions import VideoScores, write_predictions

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


@pytest.mark.parametrize(('top_k', 'ranks'), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_predictions_have_a_column_for_each_rank_that_there_is(tmp_path, top_k, ranks):
    """One video of three classes, whose scores are sums over two clips."""
    video = VideoScores(
        np.array([7]), np.array([1]), np.array([[0.5, 0.5, 1.0]]), np.array([2]),
        {'clips': np.array([2])},
    )  # fmt: skip
    write_predictions(tmp_path / 'p.csv', video, top_k=top_k, class_names=['a', 'b', 'c'])
    header, row = (line.split(',') for line in (tmp_path / 'p.csv').read_text().splitlines())
    best = ['c', '0.500000', 'a', '0.250000', 'b', '0.250000'][: 2 * ranks]
    names = [name for k in range(1, ranks + 1) for name in (f'top{k}', f'probability{k}')]
    assert header == ['video_id', 'label', *names, 'clips']
    assert row == ['7', 'b', *best, '2']


def test_video_scores_rank_equal_classes_by_their_index():
    scores = np.array([[0.1, 0.5, 0.5, 0.2, 0.2, 0.2], [0.9, 0.1, 0.1, 0.1, 0.1, 0.1]])
    of_labels = {(1, 0): (1, 1), (2, 5): (0, 0.5), (5, 4): (0, 1), (0, 0): (0.5, 0.5)}
    for labels, shares in of_labels.items():
        videos = VideoScores(np.array([0, 1]), np.array(labels), scores, np.ones(2), {})
        assert videos.shares == shares
    assert str(videos) == 'top1 0.50000, top5 0.50000'
