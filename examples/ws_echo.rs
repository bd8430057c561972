//! An echo server on the production frame codec, for the WebSocket conformance suite (`scripts/conformance`).
//!
//! It exists only with the feature `echo` and is no part of the server. The handshake and the way to the raw socket are
//! the server's own: hyper, fastwebsockets' upgrade, and `Upgraded::downcast`. `--break WHAT` spoils the echo on
//! purpose, so that the suite can be seen to fail.

use std::convert::Infallible;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use fastwebsockets::{OpCode, upgrade};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use natter::wire::close::CloseCode;
use natter::wire::frame::{Decoder, Event, close_frame, pong_frame, put_frame, raw_close_frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The largest message of the suite, in bytes.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;
/// What one read takes at most, as in the server.
const READ_BYTES: usize = 8 * 1024;

/// What the echo does wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// Answers no ping.
    Pong,
    /// Sends text back as binary.
    Kind,
    /// Ends the connection without a close frame.
    Close,
}

impl Defect {
    fn named(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "pong" => Self::Pong,
            "kind" => Self::Kind,
            "close" => Self::Close,
            _ => bail!("--break {name}: choose one of pong, kind, close"),
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let defect = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Defect::None,
        ["--break", name] => Defect::named(name)?,
        _ => bail!("usage: ws_echo [--break pong|kind|close]"),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(move |request| handshake(request, defect));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.with_upgrades().await {
                eprintln!("handshake: {error}");
            }
        });
    }
}

async fn handshake(mut request: Request<Incoming>, defect: Defect) -> Result<Response<Empty<Bytes>>, Infallible> {
    let Ok((response, upgraded)) = upgrade::upgrade(&mut request) else {
        let mut refusal = Response::new(Empty::new());
        *refusal.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return Ok(refusal);
    };
    tokio::spawn(async move {
        if let Err(error) = connection(upgraded, defect).await {
            eprintln!("connection: {error:#}");
        }
    });
    Ok(response)
}

/// Takes the raw socket back, with what the client sent too early, and echoes until either side ends.
async fn connection(upgraded: upgrade::UpgradeFut, defect: Defect) -> anyhow::Result<()> {
    let upgraded = upgraded.await?.into_inner().into_inner();
    let parts = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| anyhow!("the connection is not a plain TCP stream"))?;
    let mut stream = parts.io.into_inner();
    let mut decoder = Decoder::new(MESSAGE_MAX);
    let mut early = parts.read_buf.to_vec();
    let mut over = echo(&mut decoder, &mut early, &mut stream, defect).await?;
    let mut buffer = [0; READ_BYTES];
    while !over {
        let got = stream.read(&mut buffer).await.context("read")?;
        over = got == 0 || echo(&mut decoder, &mut buffer[..got], &mut stream, defect).await?;
    }
    stream.shutdown().await.context("shutdown")
}

/// Echoes what these bytes finish; true when the connection is over.
async fn echo(decoder: &mut Decoder, bytes: &mut [u8], to: &mut TcpStream, defect: Defect) -> anyhow::Result<bool> {
    let mut answer = Vec::new();
    let mut at = 0;
    while at < bytes.len() && !decoder.is_over() {
        match decoder.feed(&mut bytes[at..]) {
            Ok(step) => {
                at += step.consumed;
                if let Some(event) = step.event {
                    reply(event, &mut answer, defect);
                }
            }
            Err(error) if defect == Defect::Close => eprintln!("refused: {error}"),
            Err(error) => answer.extend_from_slice(&close_frame(error.close_code(), &error.to_string())),
        }
    }
    to.write_all(&answer).await.context("write")?;
    Ok(decoder.is_over())
}

/// Appends the answer to one event.
fn reply(event: Event<'_>, answer: &mut Vec<u8>, defect: Defect) {
    match event {
        Event::Text(text) if defect == Defect::Kind => put_frame(answer, OpCode::Binary, text.as_bytes()),
        Event::Text(text) => put_frame(answer, OpCode::Text, text.as_bytes()),
        Event::Binary(bytes) => put_frame(answer, OpCode::Binary, &bytes),
        Event::Ping(payload) if defect != Defect::Pong => answer.extend_from_slice(&pong_frame(&payload)),
        Event::Close { code, .. } if defect != Defect::Close => {
            let code = code.unwrap_or(CloseCode::Normal.code());
            answer.extend_from_slice(&raw_close_frame(code, ""));
        }
        Event::Ping(_) | Event::Pong | Event::Close { .. } => {}
    }
}
