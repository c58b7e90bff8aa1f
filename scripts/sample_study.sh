#!/bin/sh
# Trains networks of the same width on the bundled sample, each with several seeds, and prints means
# and spreads in one table. Run again it continues. Arguments go to train_net.py.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

MODELS=${MODELS:-r2d r2df mc3 rmc3 r3d r2plus1d} # names; with a depth other than 18: ir-csn-50
SEEDS=${SEEDS:-0 1 2}                            # of the first weights, the order and the clips
NUM_EPOCHS=${NUM_EPOCHS:-16}
STEP_EPOCH=${STEP_EPOCH:-12}
OUTPUT=${OUTPUT:-$root/output/sample_study} # a folder for each seed with one for each network
export NUM_EPOCHS STEP_EPOCH

unset TRAIN_DATA
for seed in $SEEDS; do
    for model in $MODELS; do
        name=${model%-*} depth=${model##*-}
        case $depth in
        *[!0-9]*) name=$model depth=18 ;;
        esac
        MODEL_NAME=$name MODEL_DEPTH=$depth OUTPUT=$OUTPUT/seed$seed/$model \
            sh "$root/scripts/train_r2plus1d_kinetics.sh" --seed="$seed" "$@"
    done
done

exec "$(sh "$root/scripts/setup.sh")" "$root/tools/compare_training.py" --runs="$OUTPUT" \
    --model_depth=18 --clip_length_rgb="${CLIP_LENGTH:-8}" --num_labels=8 --width=0.125
