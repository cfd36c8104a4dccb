//! `zoo serve`: other machines compute on this one.

use crate::args::Serve;
use crate::device;

/// Runs the command, until Ctrl-C.
pub fn run(args: &Serve) -> anyhow::Result<()> {
    serve(args, device::of(&args.run)?)
}

#[cfg(feature = "remote")]
fn serve(args: &Serve, device: burn::tensor::Device) -> anyhow::Result<()> {
    use std::net::TcpListener;

    use anyhow::Context;
    use burn::server::{RemoteServer, TokenAuthorizer, WebSocketTransport};

    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen at {}", args.listen))?;
    let mut server = RemoteServer::new([device]);
    let token = device::token();
    match &token {
        Some(token) => server = server.with_authorizer(TokenAuthorizer::new(token.as_str())?),
        None => eprintln!("zoo: ZOO_TOKEN is not set, so everybody may compute here"),
    }
    let (backend, address) = (args.run.backend.name(), listener.local_addr()?);
    eprintln!("{backend} at ws://{address}; Ctrl-C ends it");
    Ok(server.serve(WebSocketTransport::from_listener(listener))?)
}

#[cfg(not(feature = "remote"))]
fn serve(_: &Serve, _: burn::tensor::Device) -> anyhow::Result<()> {
    Err(device::no_remote())
}
