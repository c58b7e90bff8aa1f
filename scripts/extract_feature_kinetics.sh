#!/bin/sh
# Class probabilities of densely sampled clips of Kinetics' validation videos, in RGB: 10 databases,
# a pickle for each. dense_prediction.sh says how accurate they are. Run again it continues.
# Without TEST_DATA and MODEL: on the bundled sample. Arguments go to extract_features.py.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

TEST_DATA=${TEST_DATA:-}      # prefix of the databases: TEST_DATA_1_lmdb, TEST_DATA_2_lmdb ...
SPLITS=${SPLITS:-}            # how many there are; 10, and 2 of the sample
MODEL=${MODEL:-}              # weights, or the name of published ones: r2.5d_d34_l32_ft_sports1m
DB_TYPE=${DB_TYPE:-}          # pickle or minidb; goes by the file when empty
MODALITY=${MODALITY:-rgb}     # or flow, as extract_feature_kinetics_of.sh sets it
# The network, where the weights do not say which one it is:
MODEL_NAME=${MODEL_NAME:-}
MODEL_DEPTH=${MODEL_DEPTH:-}
CLIP_LENGTH=${CLIP_LENGTH:-}  # frames, or flow frames
NUM_LABELS=${NUM_LABELS:-}
FEATURES=${FEATURES:-softmax,label,video_id}
BATCH_SIZE=${BATCH_SIZE:-4}   # clips a device
GPUS=${GPUS:-}                # such as 0,1,2,3; empty: the CPU
THREADS=${THREADS:-4}         # videos decoded at the same time
MAX_FAILURES=${MAX_FAILURES:-0} # clips of a database that may fail
OUTPUT=${OUTPUT:-}            # folder of the pickles
SAMPLE=${SAMPLE:-$root/data/sample} # where the bundled sample is put

case $MODALITY in
rgb) name=rgb suffix= ;;
flow) name=of suffix=_of ;;
*)
    echo "extract_feature_kinetics.sh: MODALITY is $MODALITY; rgb or flow" >&2
    exit 2
    ;;
esac

python=$(sh "$root/scripts/setup.sh")

if [ -z "$TEST_DATA" ] && [ -z "$MODEL" ]; then
    echo "extract_feature_kinetics.sh: no TEST_DATA and MODEL: the bundled sample, $MODALITY" >&2
    TEST_DATA=$SAMPLE/dense
    SPLITS=${SPLITS:-2}
    LIST_FILE='' CLIP_FRAMES=9 OUTPUT=$TEST_DATA SAMPLE=$SAMPLE SPLITS=$SPLITS \
        sh "$root/scripts/create_kinetics_lmdb_feature_extraction.sh" >&2
    MODEL=$root/data/sample/r2plus1d_18_8_w0.125$suffix.pkl
    OUTPUT=${OUTPUT:-$root/output/sample_$name}
    case $OUTPUT in
    */sample_* | sample_*) set -- --if_different=replace "$@" ;; # and nothing else
    esac
elif [ -z "$TEST_DATA" ] || [ -z "$MODEL" ]; then
    echo "extract_feature_kinetics.sh: set TEST_DATA (a prefix of LMDBs) and MODEL (weights), or" \
        "neither" >&2
    exit 2
fi
SPLITS=${SPLITS:-10}
case $SPLITS in
*[!0-9]* | 0)
    echo "extract_feature_kinetics.sh: SPLITS is $SPLITS; a number from 1 on" >&2
    exit 2
    ;;
esac
OUTPUT=${OUTPUT:-$root/output/kinetics_$name}

if [ "$MODALITY" = flow ]; then
    set -- --input_type=1 ${CLIP_LENGTH:+"--clip_length_of=$CLIP_LENGTH"} --sampling_rate_of=1 \
        --flow_data_type=0 --frame_gap_of=1 --do_flow_aggregation=1 "$@"
else
    set -- ${CLIP_LENGTH:+"--clip_length_rgb=$CLIP_LENGTH"} "$@"
fi

mkdir -p -- "$OUTPUT"
if [ -e "$OUTPUT/clips_$((SPLITS + 1)).pkl" ]; then
    echo "extract_feature_kinetics.sh: $OUTPUT has pickles of more than $SPLITS splits, which would" \
        "be counted too: remove them, or name another OUTPUT" >&2
    exit 2
fi

# A database of which more clips fail than MAX_FAILURES is done all the same, and the last status
# is then 3; anything else ends the script.
status=0
split=1
while [ "$split" -le "$SPLITS" ]; do
    "$python" "$root/tools/extract_features.py" \
        --test_data="${TEST_DATA}_${split}_lmdb" \
        --load_model_path="$MODEL" \
        ${DB_TYPE:+"--db_type=$DB_TYPE"} \
        ${MODEL_NAME:+"--model_name=$MODEL_NAME"} \
        ${MODEL_DEPTH:+"--model_depth=$MODEL_DEPTH"} \
        ${NUM_LABELS:+"--num_labels=$NUM_LABELS"} \
        --features="$FEATURES" \
        --get_video_id=1 \
        --use_local_file=1 \
        --sanity_check=1 \
        --batch_size="$BATCH_SIZE" \
        --gpus="$GPUS" \
        --num_decode_threads="$THREADS" \
        --max_failures="$MAX_FAILURES" \
        --output_path="$OUTPUT/clips_$split.pkl" \
        "$@" || status=$?
    case $status in 0 | 3) ;; *) exit "$status" ;; esac
    split=$((split + 1))
done
exit "$status"
