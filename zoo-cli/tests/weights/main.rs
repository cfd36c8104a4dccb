//! Published weights: downloaded, kept, and all that can happen on the way.

mod program;
mod server;
mod store;
