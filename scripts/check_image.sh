#!/bin/sh
# Builds one target of the Dockerfile and runs its command as its own user, as root, as a user whom the
# image does not know, and with a root that cannot be written. Needs root, buildah and util-linux, but
# no daemon. Prints the size of the image and each run's accuracy. Arguments go to buildah bud, such as
# --volume=/etc/pip.conf:/etc/pip.conf:ro; it takes long.
#   sudo sh scripts/check_image.sh [BUILDAH_BUD_ARGUMENTS]
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)

TARGET=${TARGET:-caffe2}              # or modern
PYTHON_PREFIX=${PYTHON_PREFIX:-}      # folder of a Python for Linux: the base image is made of it and
                                      # debootstrap; empty: it is pulled
MIRROR=${MIRROR:-http://deb.debian.org/debian} # where debootstrap gets Debian

say() {
    echo "check_image.sh: $*" >&2
}

base=$(sed -n "s/^FROM \(.*\) AS $TARGET\$/\1/p" "$root/Dockerfile")
if [ -z "$base" ]; then
    say "TARGET is $TARGET; caffe2 or modern"
    exit 2
fi
if [ "$(id -u)" != 0 ]; then
    say "run this as root: it mounts the image"
    exit 2
fi

export BUILDAH_ISOLATION=chroot
image=localhost/r2plus1d:$TARGET
work=$(mktemp -d)
container='' made=''
clean() {
    [ -z "$container" ] || buildah rm "$container" >/dev/null
    [ -z "$made" ] || buildah rm "$made" >/dev/null
    rm -rf -- "$work"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

# The Python's libraries are those of Debian's own, whose programs go.
make_base() {
    say "making $base of Debian ${base##*-} and $PYTHON_PREFIX"
    debootstrap --variant=minbase --include=ca-certificates,python3 "${base##*-}" "$work/base" "$MIRROR" >&2
    rm -f -- "$work/base"/usr/bin/python3* "$work/base"/var/cache/apt/archives/*.deb
    cp -a -- "$PYTHON_PREFIX/." "$work/base/usr/local/"
    chroot "$work/base" ldconfig
    made=$(buildah from scratch)
    buildah add --quiet "$made" "$work/base" / >/dev/null
    buildah config --cmd python3 \
        --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin "$made"
    buildah commit --quiet "$made" "docker.io/library/$base" >/dev/null
    rm -rf -- "$work/base"
}

pull=--pull
if [ -n "$PYTHON_PREFIX" ]; then
    pull=--pull-never
    buildah inspect --type image "docker.io/library/$base" >/dev/null 2>&1 || make_base
fi
buildah bud "$pull" --layers --target="$TARGET" --tag="$image" "$@" "$root" >&2
size=$(buildah images --format '{{.Size}}' "$image")
echo "$image: $size"

container=$(buildah from --pull-never "$image")
tree=$(buildah mount "$container")
command=$(buildah inspect --type image --format '{{range .OCIv1.Config.Cmd}}{{.}} {{end}}' "$image")
buildah inspect --type image --format '{{range .OCIv1.Config.Env}}{{println .}}{{end}}' \
    "$image" >"$work/environment"

# run NAME USER MOUNT_OPTION: what docker run does with --user, --read-only and a volume for output/
run() {
    say "$1: $command"
    mkdir -m 755 "$work/$1"
    chown "$2" "$work/$1"
    unshare --mount sh -euc '
        tree=$1 output=$2 user=$3 option=$4 environment=$5 command=$6
        mount --bind "$tree" "$tree"
        mount -o "remount,bind,$option" "$tree"
        mount --bind "$output" "$tree/r2plus1d/output"
        mount -t proc proc "$tree/proc"
        mount --rbind /dev "$tree/dev"
        mount --rbind /sys "$tree/sys"
        set -- chroot --userspec="$user" "$tree" env -i HOME=/
        while read -r line; do
            set -- "$@" "$line"
        done <"$environment"
        exec "$@" sh -c "cd /r2plus1d && exec $command"
    ' sh "$tree" "$work/$1" "$2" "$3" "$work/environment" "$command" >"$work/$1.out"
    if ! grep 'Test accuracy' "$work/$1.out"; then
        say "$1: no accuracy"
        exit 1
    fi
}

owner=$(stat -c %u:%g "$tree/r2plus1d/setup.py")
run its-own-user "$owner" rw
run root 0:0 rw
run unknown-user 12345:12345 rw
run read-only 12345:12345 ro
