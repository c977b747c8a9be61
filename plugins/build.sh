#!/bin/sh
# Builds policy components. Needs: rustup target add wasm32-unknown-unknown
#   build.sh                 the default components, into plugins/dist/
#   build.sh --examples      the policies in examples/, into plugins/target/examples/
#   build.sh FOLDER OUT      the crate in FOLDER, wherever that is, into the component OUT
#   build.sh --test-guests   the test guest in two variants, into plugins/target/guests/, and the default components
#                            into plugins/target/rebuilt/, to compare with the committed ones
set -eu
PLUGINS=$(cd "$(dirname "$0")" && pwd)
TARGET=wasm32-unknown-unknown
# A folder of its own, so that a build of the router with another CARGO_TARGET_DIR finds the same files.
export CARGO_TARGET_DIR="$PLUGINS/target"
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS

pack() { # module component
    "$CARGO_TARGET_DIR/debug/pack" "$1" "$2.tmp"
    # In one step: a router that watches the file never sees half of it.
    mv "$2.tmp" "$2"
}

built() { # crate
    echo "$CARGO_TARGET_DIR/$TARGET/release/$(echo "$1" | tr - _).wasm"
}

# The example policies, into plugins/target/examples/.
examples() {
    mkdir -p "$CARGO_TARGET_DIR/examples"
    for folder in "$PLUGINS"/examples/*/; do
        name=$(basename "$folder")
        cargo build --quiet --locked --release --target $TARGET --manifest-path "$folder/Cargo.toml"
        pack "$(built "$name")" "$CARGO_TARGET_DIR/examples/$name.wasm"
    done
}

cargo build --quiet --locked --manifest-path "$PLUGINS/Cargo.toml" -p pack

case ${1:-} in
'' | --test-guests) ;;
--examples)
    examples
    exit
    ;;
*)
    [ $# -eq 2 ] || { echo "usage: build.sh [FOLDER OUT.wasm | --examples | --test-guests]" >&2; exit 2; }
    id=$(cargo pkgid --manifest-path "$1/Cargo.toml")
    # `path+file:///a/b#0.1.0` where the folder has the crate's name, else `path+file:///a/b#name@0.1.0`.
    name=${id##*#}
    case $name in
    *@*) name=${name%@*} ;;
    *) name=${id%#*} && name=${name##*/} ;;
    esac
    cargo build --quiet --release --target $TARGET --manifest-path "$1/Cargo.toml"
    pack "$(built "$name")" "$2"
    exit
    ;;
esac

cd "$PLUGINS"
OUT=dist
if [ "${1:-}" = --test-guests ]; then
    mkdir -p target/guests
    for label in a b; do
        GUEST_LABEL=$label cargo build --quiet --locked --release --target $TARGET -p test-guest
        pack "$(built test-guest)" "target/guests/guest-$label.wasm"
    done
    cargo build --quiet --locked --release --target $TARGET -p test-reach
    pack "$(built test-reach)" target/guests/reach.wasm
    examples
    # A core module as cargo leaves it, which the router makes a component of.
    cp "$(built test-guest)" target/guests/core-module.wasm
    OUT=target/rebuilt
fi

mkdir -p "$OUT"
cargo build --quiet --locked --release --target $TARGET -p default-names -p default-route -p least-busy -p redact
for name in default-names default-route least-busy redact; do
    pack "$(built "$name")" "$OUT/$name.wasm"
done
