//! `zoo serve`: lets other machines compute on this one.

use std::net::SocketAddr;

use crate::options::RunOptions;
#[cfg(not(feature = "remote"))]
use crate::options::no_remote;
#[cfg(feature = "remote")]
use crate::options::token;

/// `zoo serve`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Clients need the token in ZOO_TOKEN. Without a token, every client that reaches the address may compute here. The connection \
is not encrypted.")]
pub(crate) struct Args {
    /// Options that choose the backend.
    #[command(flatten)]
    pub(crate) run: RunOptions,

    /// The address to listen at; 0.0.0.0:3000 listens at all addresses of this machine
    #[arg(long, short, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub(crate) listen: SocketAddr,
}

/// Runs the command, until Ctrl-C.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    serve(args, args.run.device()?)
}

#[cfg(feature = "remote")]
fn serve(args: &Args, device: burn::tensor::Device) -> anyhow::Result<()> {
    use std::net::TcpListener;

    use anyhow::Context;
    use burn::server::{RemoteServer, TokenAuthorizer, WebSocketTransport};

    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen at {}", args.listen))?;
    let mut server = RemoteServer::new([device]);
    let token = token();
    match &token {
        Some(token) => server = server.with_authorizer(TokenAuthorizer::new(token.as_str())?),
        None => eprintln!("zoo: ZOO_TOKEN is not set, so every client may compute here"),
    }
    let (backend, address) = (args.run.backend, listener.local_addr()?);
    eprintln!("{backend} at ws://{address}; Ctrl-C stops it");
    Ok(server.serve(WebSocketTransport::from_listener(listener))?)
}

#[cfg(not(feature = "remote"))]
fn serve(_: &Args, _: burn::tensor::Device) -> anyhow::Result<()> {
    Err(no_remote())
}
