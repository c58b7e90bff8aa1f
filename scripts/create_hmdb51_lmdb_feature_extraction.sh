#!/bin/sh
# Builds databases of densely sampled clips of the test videos of a split of HMDB51.
# With nothing set: of the bundled sample. Arguments go to create_dense_list.py.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

VIDEOS=${VIDEOS:-}            # folder of the videos, CLASS/NAME.avi
ANNOTATIONS=${ANNOTATIONS:-}  # folder of the data set's split files
SPLIT=${SPLIT:-1}             # of the data set: 1, 2 or 3
MAX_MISSING=${MAX_MISSING:-0} # videos that may be missing
OUTPUT=${OUTPUT:-} # prefix: OUTPUT_1_lmdb, OUTPUT_2_lmdb ...; output/hmdb51_dense when empty

stop() {
    [ "$1" -ne 3 ] || echo "create_hmdb51_lmdb_feature_extraction.sh: more videos are missing than" \
        "MAX_MISSING ($MAX_MISSING) allows: no database is made" >&2
    exit "$1"
}

export SPLITS="${SPLITS:-2}"
if [ -n "$VIDEOS" ] && [ -n "$ANNOTATIONS" ]; then
    python=$(sh "$root/scripts/setup.sh")
    OUTPUT=${OUTPUT:-$root/output/hmdb51_dense}
    mkdir -p -- "$(dirname -- "$OUTPUT")"
    export LIST_FILE="${OUTPUT}_videos.csv"
    "$python" "$root/data/create_list.py" --dataset=hmdb51 --annotations="$ANNOTATIONS" \
        --videos="$VIDEOS" --subset=test --split="$SPLIT" --output="$LIST_FILE" \
        --labels="${OUTPUT}_labels.txt" --max_missing="$MAX_MISSING" || stop "$?"
elif [ -n "$VIDEOS$ANNOTATIONS" ]; then
    echo "create_hmdb51_lmdb_feature_extraction.sh: set VIDEOS (the folder of the videos) and" \
        "ANNOTATIONS (that of the split files), or neither" >&2
    exit 2
else
    export LIST_FILE=
    OUTPUT=${OUTPUT:-$root/output/sample_hmdb51_dense}
fi
export OUTPUT
exec sh "$root/scripts/create_kinetics_lmdb_feature_extraction.sh" "$@"
