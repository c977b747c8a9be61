#!/bin/sh
# Builds the policy components. Needs: rustup target add wasm32-unknown-unknown
#   build.sh                 the default components, into plugins/dist/
#   build.sh --test-guests   the test guest in two variants, into plugins/target/guests/, and the default components
#                            into plugins/target/rebuilt/, to compare with the committed ones
set -eu
cd "$(dirname "$0")"
TARGET=wasm32-unknown-unknown
# A folder of its own, so that a build of the router with another CARGO_TARGET_DIR finds the same files.
export CARGO_TARGET_DIR="$PWD/target"
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS

pack() { # module component
    "$CARGO_TARGET_DIR/debug/pack" "$CARGO_TARGET_DIR/$TARGET/release/$1.wasm" "$2.tmp"
    mv "$2.tmp" "$2"
}

OUT=dist
cargo build --quiet --locked -p pack

if [ "${1:-}" = --test-guests ]; then
    mkdir -p target/guests
    for label in a b; do
        GUEST_LABEL=$label cargo build --quiet --locked --release --target $TARGET -p test-guest
        pack test_guest "target/guests/guest-$label.wasm"
    done
    # A core module, to test that it is refused with advice.
    cp "$CARGO_TARGET_DIR/$TARGET/release/test_guest.wasm" target/guests/core-module.wasm
    OUT=target/rebuilt
fi

mkdir -p "$OUT"
cargo build --quiet --locked --release --target $TARGET -p default-route -p least-busy -p redact
for name in default-route least-busy redact; do
    pack "$(echo $name | tr - _)" "$OUT/$name.wasm"
done
