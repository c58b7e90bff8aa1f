#!/bin/sh
# Video accuracy of RGB and optical flow together: ALPHA of the first, 1 - ALPHA of the second.
# Without RGB and FLOW: of the bundled sample, extracted as far as that is not done yet.
# Arguments go to dense_prediction_fusion.py.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

RGB=${RGB:-}           # folder of pickles, such as extract_feature_kinetics.sh makes
FLOW=${FLOW:-}         # and extract_feature_kinetics_of.sh
ALPHA=${ALPHA:-0.6}    # 0.6 is the published one; 0,0.5,1 or sweep: several
FILE_COUNT=${FILE_COUNT:-10} # pickles of each
OUTPUT=${OUTPUT:-$root/output} # where the sample's pickles go, in sample_rgb and sample_of

python=$(sh "$root/scripts/setup.sh")

if [ -z "$RGB" ] && [ -z "$FLOW" ]; then
    echo "fuse_prediction.sh: no RGB and FLOW: the bundled sample" >&2
    RGB=$OUTPUT/sample_rgb
    FLOW=$OUTPUT/sample_of
    FILE_COUNT=${SPLITS:-2}
    TEST_DATA='' MODEL='' MODALITY=rgb OUTPUT=$RGB \
        sh "$root/scripts/extract_feature_kinetics.sh" >&2
    TEST_DATA='' MODEL='' OUTPUT=$FLOW sh "$root/scripts/extract_feature_kinetics_of.sh" >&2
elif [ -z "$RGB" ] || [ -z "$FLOW" ]; then
    echo "fuse_prediction.sh: set RGB and FLOW (folders of pickles), or neither" >&2
    exit 2
fi

exec "$python" "$root/tools/dense_prediction_fusion.py" \
    --input_dir1="$RGB" --input_dir2="$FLOW" --file_count="$FILE_COUNT" --alpha="$ALPHA" "$@"
