"""What a report counts, against plain counts."""

from collections import Counter

import numpy as np
import pytest

from r2plus1d.evaluation.metrics import Accuracy, score_video
from r2plus1d.evaluation.outcomes import Outcome, outcome_of, outcomes_of
from r2plus1d.evaluation.predictions import VideoScores
from r2plus1d.evaluation.tally import MOST_REASONS, OTHER_REASONS, Tally
from r2plus1d.sources.sample import Sample

CLASSES = 6


def random_scores(count, seed=0):
    """(Sample, VideoScore) pairs, with ties among the probabilities."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        label = int(rng.integers(0, CLASSES - 1))  # the last class has no videos
        rows = rng.integers(1, 6, (3, CLASSES)).astype(np.float32)
        rows[:, label] += rng.integers(0, 3)
        probabilities = rows / rows.sum(axis=1, keepdims=True)
        yield Sample(i, f'{i:03}', None, (label,), 900 + i), score_video(probabilities, (label,))


def tally_of(pairs, top_k=2, most_mistakes=4):
    tally = Tally(CLASSES, top_k=top_k, most_mistakes=most_mistakes)
    for sample, score in pairs:
        tally.add_sample(sample, score)
    return tally


def test_it_has_the_accuracies_that_the_tool_prints():
    pairs = list(random_scores(80))
    accuracy = Accuracy(2)
    for _, score in pairs:
        accuracy.add(score)
    measures = list(tally_of(pairs).measures())
    assert [m.name for m in measures] == ['clip', 'video top 1', 'video top 2']
    assert [m.share for m in measures] == list(accuracy.shares)
    assert [m.total for m in measures] == [240, 80, 80]
    assert len({m.share for m in measures}) == 3
    assert all(m.low < m.share < m.high for m in measures)
    assert [m.name for m in tally_of(pairs, top_k=1).measures()] == ['clip', 'video top 1']


def test_counts_of_classes_and_pairs():
    pairs = list(random_scores(80))
    tally, said = tally_of(pairs), Counter((s.labels[0], int(v.ranking[0])) for s, v in pairs)
    assert tally.confused == {pair: n for pair, n in said.items() if pair[0] != pair[1]}
    assert tally.right.tolist() == [said[c, c] for c in range(CLASSES)]
    labels = Counter(s.labels[0] for s, _ in pairs)
    assert tally.videos.tolist() == [labels[c] for c in range(CLASSES)]
    within = Counter(s.labels[0] for s, v in pairs if v.right_within(2))
    assert tally.right_within.tolist() == [within[c] for c in range(CLASSES)]
    assert (tally.num_scored, tally.num_failed) == (80, 0)


@pytest.mark.parametrize('most', [0, 1, 5, 1000])
def test_the_surest_mistakes_are_kept(most):
    pairs = list(random_scores(400))
    wrong = [o for o in (outcome_of(s, v, 2) for s, v in pairs) if not o.is_right]
    expected = sorted(wrong, key=lambda o: -o.probabilities[0])[:most]  # of equals the first
    assert tally_of(pairs, most_mistakes=most).mistakes == expected
    assert len({o.probabilities[0] for o in wrong}) < len(wrong), 'there are no equals'


def test_reasons_that_differ_in_numbers_are_one():
    tally = tally_of([])
    for i in range(3):
        tally.add_sample(Sample(i, f'{i}', failure=f'truncated: {i} of 40.{i} frames'), None)
    tally.add_sample(Sample(9, '9', 'a.mp4', failure='missing file'), None)
    assert tally.reasons == [
        (3, 'record 0', 'truncated: 0 of 40.0 frames'),
        (1, 'record 9 (a.mp4)', 'missing file'),
    ]
    assert tally.num_failed == 4


def test_reasons_do_not_fill_the_memory():
    tally = tally_of([])
    names = [f'{chr(97 + i // 26)}{chr(97 + i % 26)}' for i in range(MOST_REASONS + 50)]
    for name in names:
        tally.fail('record 0', f'codec {name}')
    assert len(tally.reasons) == MOST_REASONS + 1
    assert tally.reasons[0] == (50, 'record 0', OTHER_REASONS)
    assert sum(r.records for r in tally.reasons) == tally.num_failed


def test_videos_of_feature_files():
    """Sums of clips: the same ranking and accuracies, without clips where both sides have them."""
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 9, (30, CLASSES)).astype(np.float64) + 1
    labels, weights = rng.integers(0, CLASSES, 30), rng.integers(1, 4, 30)
    counts = {'clips_right': rng.integers(0, 2, 30), 'clips': weights}
    videos = VideoScores(np.arange(30), labels, scores, weights, counts)
    tally = Tally(CLASSES, top_k=5, most_mistakes=1)
    for outcome in outcomes_of(videos):
        tally.add(outcome)
    clip, top1, top5 = tally.measures()
    assert (top1.share, top5.share) == videos.shares
    assert (clip.right, clip.total) == (counts['clips_right'].sum(), weights.sum())
    best = scores / weights[:, None]
    assert tally.mistakes[0].probabilities[0] == round(
        max(best[i].max() for i in range(30) if scores[i].argmax() != labels[i]), 6
    )
    tally.add(Outcome('', '31', 0, (0,), (1.0,)))
    assert [m.name for m in tally.measures()] == ['video top 1', 'video top 5']
