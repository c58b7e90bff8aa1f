#!/bin/sh
# Builds databases of the training and the test videos of a split of HMDB51 or UCF101;
# create_hmdb51_lmdb.sh and create_ucf101_lmdb.sh say which. With nothing set: of the bundled sample.
# Arguments go to create_video_db.py.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

DATASET=${DATASET:-hmdb51}   # or ucf101
VIDEOS=${VIDEOS:-}            # folder of the videos, CLASS/NAME.avi
ANNOTATIONS=${ANNOTATIONS:-} # folder of the data set's split files
SPLIT=${SPLIT:-1}            # 1, 2 or 3
MAX_MISSING=${MAX_MISSING:-0} # videos that may be missing
USE_LIST=${USE_LIST:-0}      # 1: store the paths of the videos, not the videos
OVERWRITE=${OVERWRITE:-0}    # 1: replace databases that are there
OUTPUT=${OUTPUT:-}           # folder of the lists and databases; output/$DATASET when empty

SAMPLE=${SAMPLE:-$root/data/sample} # where the bundled sample is put

case ${VIDEOS:+videos}${ANNOTATIONS:+annotations} in
videos | annotations)
    echo "create_split_lmdbs.sh: set VIDEOS (the folder of $DATASET's videos) and ANNOTATIONS (that" \
        "of its split files), or neither" >&2
    exit 2
    ;;
esac

python=$(sh "$root/scripts/setup.sh")

if [ -z "$VIDEOS" ]; then
    echo "create_split_lmdbs.sh: no VIDEOS and ANNOTATIONS: the bundled sample" >&2
    if [ -z "$OUTPUT" ]; then
        OUTPUT=$root/output/sample_$DATASET
        OVERWRITE=1
    elif [ "$OVERWRITE" != 1 ] && { [ -e "$OUTPUT/labels.txt" ] ||
        [ -e "$OUTPUT/train_split${SPLIT}_lmdb" ] || [ -e "$OUTPUT/test_split${SPLIT}_lmdb" ]; }; then
        echo "create_split_lmdbs.sh: $OUTPUT has files that the sample would replace: set" \
            "VIDEOS and ANNOTATIONS, or OVERWRITE=1" >&2
        exit 2
    fi
    "$python" "$root/data/create_sample.py" --output="$SAMPLE" --split=all
    mkdir -p -- "$OUTPUT"
    cp -- "$SAMPLE/labels.txt" "$OUTPUT/labels.txt"
fi
OUTPUT=${OUTPUT:-$root/output/$DATASET}
mkdir -p -- "$OUTPUT"

stop() {
    [ "$1" -ne 3 ] || echo "create_split_lmdbs.sh: more videos are missing than MAX_MISSING" \
        "($MAX_MISSING) allows: no $subset database is made" >&2
    exit "$1"
}

for subset in train test; do
    list=$SAMPLE/${subset}_list.csv
    if [ -n "$VIDEOS" ]; then
        list=$OUTPUT/${subset}_split$SPLIT.csv
        "$python" "$root/data/create_list.py" --dataset="$DATASET" --annotations="$ANNOTATIONS" \
            --videos="$VIDEOS" --subset="$subset" --split="$SPLIT" --output="$list" \
            --labels="$OUTPUT/labels.txt" --max_missing="$MAX_MISSING" || stop "$?"
    fi
    "$python" "$root/data/create_video_db.py" --list_file="$list" --use_list="$USE_LIST" \
        --use_video_id=1 --output_file="$OUTPUT/${subset}_split${SPLIT}_lmdb" \
        --overwrite="$OVERWRITE" "$@"
done
