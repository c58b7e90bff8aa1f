#!/bin/sh
# As extract_feature_kinetics.sh, which has the variables, for ir-CSN and ip-CSN: crops of 224 pixels of
# every other frame, and the features final_avg with the class probabilities. Without TEST_DATA and
# MODEL: with a narrow network of random weights on the bundled sample, to show the steps.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

TEST_DATA=${TEST_DATA:-} # prefix of the databases; CLIP_FRAMES=63 makes those of 32 frames at a rate of 2
MODEL=${MODEL:-}         # weights, or a published name: irCSN_152_ft_kinetics_from_ig65m
OUTPUT=${OUTPUT:-}       # folder of the pickles
SAMPLE=${SAMPLE:-$root/data/sample} # where the bundled sample is put
export FEATURES="${FEATURES:-final_avg,softmax,label,video_id}"

if [ -z "$TEST_DATA" ] && [ -z "$MODEL" ]; then
    echo "extract_feature_kinetics_ircsn.sh: no TEST_DATA and MODEL: random weights on the bundled" \
        "sample, to show the steps" >&2
    python=$(sh "$root/scripts/setup.sh")
    TEST_DATA=$SAMPLE/dense_ircsn
    OUTPUT=${OUTPUT:-$root/output/sample_ircsn}
    export SPLITS="${SPLITS:-2}"
    LIST_FILE='' CLIP_FRAMES=15 OUTPUT=$TEST_DATA SAMPLE=$SAMPLE \
        sh "$root/scripts/create_kinetics_lmdb_feature_extraction.sh" >&2
    MODEL=$SAMPLE/random_ir-csn_50_8_w0.125.pkl
    "$python" "$root/tools/random_weights.py" --save_model_path="$MODEL" --overwrite=1 \
        --model_name=ir-csn --model_depth=50 --width=0.125 --use_pool1=1 --crop_size=224 \
        --clip_length_rgb=8 --num_labels=8 >&2
    case $OUTPUT in
    */sample_* | sample_*) set -- --if_different=replace "$@" ;;
    esac
fi

export TEST_DATA MODEL OUTPUT="${OUTPUT:-$root/output/kinetics_ircsn}"
exec sh "$root/scripts/extract_feature_kinetics.sh" --use_pool1=1 --crop_size=224 \
    --video_res_type=1 --scale_h=256 --scale_w=342 --sampling_rate_rgb=2 "$@"
