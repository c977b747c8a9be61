//! Edits of the configuration while calls run: what is not touched loses nothing.
