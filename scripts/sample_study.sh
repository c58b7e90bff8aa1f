#!/bin/sh
# Trains six networks of the same width on the bundled sample and prints them in one table.
# Run again it continues. Arguments go to train_net.py.
set -eu

root=$(cd -- "$(dirname -- "$0")/.." && pwd)

MODELS=${MODELS:-r2d r2df mc3 rmc3 r3d r2plus1d} # names with spaces between them
NUM_EPOCHS=${NUM_EPOCHS:-8}
STEP_EPOCH=${STEP_EPOCH:-6}
OUTPUT=${OUTPUT:-$root/output/sample_study} # a folder for each network
export NUM_EPOCHS STEP_EPOCH

unset TRAIN_DATA
for model in $MODELS; do
    MODEL_NAME=$model OUTPUT=$OUTPUT/$model sh "$root/scripts/train_r2plus1d_kinetics.sh" "$@"
done

exec "$(sh "$root/scripts/setup.sh")" "$root/tools/compare_training.py" --runs="$OUTPUT" \
    --model_depth=18 --clip_length_rgb=8 --num_labels=8 --width=0.125
