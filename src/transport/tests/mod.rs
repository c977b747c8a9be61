//! Tests with raw sockets.
