//! Published weights: downloaded, kept, and all that can happen on the way.

mod program;
#[path = "../../../zoo/tests/hub/server.rs"]
mod server;
