//! Tables: what is said and what happens, and what follows.

mod legacy;
mod limits;
mod modern;
mod world;
