//! Tables: what is said and what happens, and what follows.
