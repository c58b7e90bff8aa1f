#!/bin/sh
# Clip and video accuracy by dense prediction: the average over densely sampled clips of each video,
# from the pickles in INPUT. Without INPUT: of the bundled sample, first in RGB and then in optical
# flow, extracted as far as that is not done yet. Arguments go to dense_prediction_aggregation.py.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

INPUT=${INPUT:-}       # folder of pickles, such as extract_feature_kinetics.sh makes
MAX_CLIP=${MAX_CLIP:-0} # clips of a video; 0: all
OUTPUT=${OUTPUT:-$root/output} # where the sample's pickles go, in sample_rgb and sample_of

python=$(sh "$root/scripts/setup.sh")

aggregate() {
    folder=$1
    shift
    "$python" "$root/tools/dense_prediction_aggregation.py" --input_dir="$folder" \
        --max_clip="$MAX_CLIP" "$@"
}

if [ -n "$INPUT" ]; then
    aggregate "$INPUT" "$@"
    exit
fi

case " $*" in
*" --output="* | *" --output "* | *" --report"*)
    echo "dense_prediction.sh: --output and --report are for one folder: set INPUT, such as" \
        "INPUT=$OUTPUT/sample_rgb" >&2
    exit 2
    ;;
esac

echo "dense_prediction.sh: no INPUT: the bundled sample" >&2
TEST_DATA='' MODEL='' MODALITY=rgb OUTPUT=$OUTPUT/sample_rgb \
    sh "$root/scripts/extract_feature_kinetics.sh" >&2
TEST_DATA='' MODEL='' OUTPUT=$OUTPUT/sample_of sh "$root/scripts/extract_feature_kinetics_of.sh" >&2
aggregate "$OUTPUT/sample_rgb" "$@"
aggregate "$OUTPUT/sample_of" "$@"
