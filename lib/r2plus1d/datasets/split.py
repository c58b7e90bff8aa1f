"""Which videos are held out for tests: pure functions of names, contents and a seed."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from r2plus1d.errors import InputError

TRAIN, TEST = 'train', 'test'
SPLIT_BY = ('source', 'video')


class ClassVideo(NamedTuple):
    """A video in the folder of its class.

    Attributes:
        name: its path from the folder of the classes, such as `golf/club_a_1.mp4`.
        class_name: the first part of it.
        content: text that is the same for the same bytes.
    """

    name: str
    class_name: str
    content: str


def source_of(video: ClassVideo) -> str:
    """Return what clips of one recording share: the path up to the last `_` of the name.

    golf/club_a_1.mp4 and golf/club_a_2.mp4 -> golf/club_a. A name without `_` is its own source.
    """
    folder, slash, name = video.name.rpartition('/')
    stem, _, suffix = name.rpartition('.')
    before, _, after = stem.rpartition('_')
    return folder + slash + (before if before and after else stem + '.' + suffix)


def groups_of(videos: Iterable[ClassVideo], split_by: str) -> list[list[ClassVideo]]:
    """Return the videos in groups that stay on one side: one source, or the same content."""
    group_of: dict[str, list[ClassVideo]] = {}
    for video in videos:
        keys = [f'content {video.content}']
        keys += [f'source {source_of(video)}'] if split_by == 'source' else []
        joined = [video]
        for group in {id(g): g for g in map(group_of.get, keys) if g is not None}.values():
            joined = group + joined
        for each in joined:
            group_of[f'content {each.content}'] = joined
            if split_by == 'source':
                group_of[f'source {source_of(each)}'] = joined
    return list({id(group): group for group in group_of.values()}.values())


def hold_out(
    groups: Sequence[Sequence[ClassVideo]], *, share: float, random_of: random.Random
) -> list[ClassVideo]:
    """Choose groups of about `share` of all videos, at least one and never all of them.

    Returns:
        The chosen videos; none where there is only one group.
    """
    if len(groups) < 2:
        return []
    total = sum(map(len, groups))
    wanted = min(max(1, round(share * total)), total - 1)
    order = random_of.sample(list(groups), len(groups))
    held: list[ClassVideo] = []
    for group in order:
        if len(held) + len(group) <= wanted:
            held.extend(group)
    smallest = min(order, key=len)
    return held or list(smallest)


def split_by_seed(
    videos: Sequence[ClassVideo], *, split_by: str, share: float, seed: int
) -> tuple[set[str], dict[str, int]]:
    """Choose the videos that are held out, in each class for itself.

    A class does not change the choice in another one.

    Returns:
        (their names, {class of which none can be held out: number of its videos}).
    """
    by_class: dict[str, list[ClassVideo]] = {}
    for video in sorted(videos):
        by_class.setdefault(video.class_name, []).append(video)
    held, whole = set(), {}
    for name, of_class in by_class.items():
        groups = groups_of(of_class, split_by)
        chosen = hold_out(groups, share=share, random_of=random.Random(f'{seed} {name}'))
        held |= {video.name for video in chosen}
        if not chosen:
            whole[name] = len(of_class)
    return held, whole


def require_one_class(videos: Iterable[ClassVideo]) -> None:
    """Raise InputError where the same bytes are in the folders of two classes."""
    first: dict[str, ClassVideo] = {}
    for video in videos:
        other = first.setdefault(video.content, video)
        if other.class_name != video.class_name:
            raise InputError(
                f'{other.name} and {video.name} are the same video in two classes: remove one'
            )


def changes(before: Mapping[str, Sequence[str]], now: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what differs between {name of a video: what is known of it}, in words.

    Each text counts the videos and names the first one.
    """
    gone = sorted(set(before) - set(now))
    new = sorted(set(now) - set(before))
    others = sorted(name for name in set(before) & set(now) if [*before[name]] != [*now[name]])
    found = {'new': new, 'gone': gone, 'with another content, class or side': others}
    return [f'{len(names)} {what} ({names[0]})' for what, names in found.items() if names]
