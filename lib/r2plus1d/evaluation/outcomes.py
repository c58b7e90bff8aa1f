"""What became of one video, as far as reports and comparisons need it."""

from collections.abc import Iterator
from typing import NamedTuple, Optional

from r2plus1d.evaluation.metrics import VideoScore, rank
from r2plus1d.evaluation.predictions import TOP_K, VideoScores
from r2plus1d.sources.sample import Sample

SEVERAL = 'num_labels'  # column where a video may have several labels: how many it has


class Outcome(NamedTuple):
    """A video with one label, and its best classes.

    Attributes:
        key: of its record, empty where that is not known.
        video: its path or video id, empty where it has none.
        label: number of its class.
        ranking: numbers of its best classes, the best first.
        probabilities: of these classes, rounded to 6 decimals as in the predictions' CSV.
        clips_right, clips: rows whose best class is the label, and all rows; None where that is not
            known.
    """

    key: str
    video: str
    label: int
    ranking: tuple[int, ...]
    probabilities: tuple[float, ...]
    clips_right: Optional[int] = None
    clips: Optional[int] = None

    @property
    def is_right(self) -> bool:
        return self.ranking[0] == self.label


def outcome_of(sample: Sample, score: VideoScore, top_k: int) -> Outcome:
    """Return the Outcome of a scored Sample, with its `top_k` best classes."""
    video = sample.path or ('' if sample.video_id is None else str(sample.video_id))
    best = tuple(score.ranking[:top_k].tolist())
    probabilities = tuple(round(float(score.probabilities[c]), 6) for c in best)
    return Outcome(
        sample.key, video, score.labels[0], best, probabilities, score.clips_right, score.num_clips
    )


def outcomes_of(videos: VideoScores) -> Iterator[Outcome]:
    """Yield the Outcome of each video, with as many classes as its second accuracy looks at."""
    counts = [videos.counts.get(name) for name in ('clips_right', 'clips')]
    for i, video_id in enumerate(videos.video_ids.tolist()):
        best = tuple(rank(videos.scores[i])[:TOP_K].tolist())
        of_best = videos.scores[i][list(best)] / videos.weights[i]
        probabilities = tuple(round(p, 6) for p in of_best.tolist())
        known = [None if count is None else int(count[i]) for count in counts]
        yield Outcome('', str(video_id), int(videos.labels[i]), best, probabilities, *known)
