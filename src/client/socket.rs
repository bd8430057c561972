//! A WebSocket for commands that talk rather than load: fastwebsockets reads and writes the frames, which makes it a
//! second opinion on what our own codec sends.

use std::io::Cursor;

use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocket};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, Chain, Join};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::{Error, PATIENCE, Result, Target};

type Stream = Join<Chain<Cursor<Vec<u8>>, OwnedReadHalf>, OwnedWriteHalf>;

/// An open WebSocket.
pub struct Socket {
    inner: WebSocket<Stream>,
}

impl Target {
    /// Opens a WebSocket on a path.
    ///
    /// # Errors
    /// [`Error`], also if the server refuses the upgrade.
    pub async fn socket(&self, path: &str, cookie: &str) -> Result<Socket> {
        let upgraded = self.upgrade(path, cookie, None).await?;
        let (read, write) = upgraded.stream.into_split();
        let stream = tokio::io::join(Cursor::new(upgraded.rest).chain(read), write);
        Ok(Socket {
            inner: WebSocket::after_handshake(stream, Role::Client),
        })
    }
}

impl Socket {
    /// Sends a frame of the chat protocol.
    ///
    /// # Errors
    /// [`Error::Broken`] if the connection is gone.
    pub async fn send(&mut self, frame: &Value) -> Result<()> {
        let text = frame.to_string().into_bytes();
        let sent = self.inner.write_frame(Frame::text(Payload::Owned(text))).await;
        sent.map_err(|error| Error::Broken("sending a frame", error.to_string()))
    }

    /// The next frame of this type; others are passed over, but for `error`, which fails.
    ///
    /// # Errors
    /// [`Error::Silent`] if none comes in time, [`Error::Protocol`] for an `error` frame, a close or bad JSON.
    pub async fn expect(&mut self, kind: &str) -> Result<Value> {
        let wait = async {
            loop {
                let frame = self.next().await?;
                match frame["type"].as_str() {
                    Some(found) if found == kind => return Ok(frame),
                    Some("error") => return Err(Error::Protocol(format!("waiting for {kind:?}: {frame}"))),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .map_err(|_| Error::Silent("waiting for a frame"))?
    }

    async fn next(&mut self) -> Result<Value> {
        loop {
            let frame = self.inner.read_frame().await;
            let frame = frame.map_err(|error| Error::Broken("reading a frame", error.to_string()))?;
            match frame.opcode {
                OpCode::Text => {
                    let value = serde_json::from_slice(&frame.payload);
                    return value.map_err(|error| Error::Protocol(format!("a frame is not JSON: {error}")));
                }
                OpCode::Close => {
                    let code = match &frame.payload[..] {
                        [high, low, ..] => u16::from_be_bytes([*high, *low]),
                        _ => 1005,
                    };
                    return Err(Error::Protocol(format!("the server closed with code {code}")));
                }
                OpCode::Ping | OpCode::Pong => {}
                OpCode::Binary | OpCode::Continuation => {
                    return Err(Error::Protocol("a binary or fragmented frame came".to_owned()));
                }
            }
        }
    }

    /// Says goodbye. What the server answers is not waited for.
    pub async fn close(mut self) {
        let _ = self.inner.write_frame(Frame::close(1000, b"")).await;
    }
}
