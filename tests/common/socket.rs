//! A socket that hides nothing: every frame, in the order in which it came, and the close code.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natter::client::{FrameReader, Opcode, mask_frame};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::within;

/// A handshake to be sent.
pub struct Open {
    address: SocketAddr,
    head: String,
    receive_buffer: Option<u32>,
    from: Option<IpAddr>,
}

/// Something that came.
#[derive(Debug, Clone, PartialEq)]
pub enum Got {
    /// A frame of the protocol, and its bytes.
    Frame(Value, Vec<u8>),
    /// A close frame with this code.
    Close(u16),
    /// The end of the stream, or a reset.
    End,
}

/// An open socket.
pub struct Sock {
    stream: TcpStream,
    reader: FrameReader,
    got: VecDeque<Got>,
}

impl Open {
    /// A complete handshake without a cookie.
    pub fn new(address: SocketAddr, path: &str) -> Self {
        let key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        Self::plain(address, path)
            .header(key.trim_end())
            .header("Sec-WebSocket-Version: 13")
    }

    /// A request for a socket's address that is no handshake.
    pub fn plain(address: SocketAddr, path: &str) -> Self {
        Self {
            address,
            head: format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n"),
            receive_buffer: None,
            from: None,
        }
    }

    /// With this line.
    pub fn header(mut self, line: &str) -> Self {
        self.head.push_str(line);
        self.head.push_str("\r\n");
        self
    }

    /// With this session.
    pub fn cookie(self, cookie: &str) -> Self {
        self.header(&format!("Cookie: {cookie}"))
    }

    /// With a kernel buffer of so many bytes, so that a socket that is not read is felt soon.
    pub const fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// From this address of the machine.
    pub const fn from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// Sends it. A refusal is its status and as much of its body as has come.
    pub async fn open(self) -> Result<Sock, (u16, String)> {
        within("the handshake", self.exchange()).await.expect("a handshake")
    }

    /// Sends it to a server that may be gone, or not answer in time.
    pub async fn try_open(self, patience: Duration) -> io::Result<Result<Sock, (u16, String)>> {
        tokio::time::timeout(patience, self.exchange()).await?
    }

    async fn exchange(self) -> io::Result<Result<Sock, (u16, String)>> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let mut stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(format!("{}\r\n", self.head).as_bytes()).await?;
        let mut answer = Vec::new();
        let end = loop {
            if let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            more(&mut stream, &mut answer).await?;
        };
        let mut rest = answer.split_off(end);
        let head = String::from_utf8(answer).expect("text");
        let status: u16 = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        if status == 101 {
            let mut socket = Sock {
                stream,
                reader: FrameReader::default(),
                got: VecDeque::new(),
            };
            socket.feed(&rest);
            return Ok(Ok(socket));
        }
        let length = head.lines().filter_map(|line| line.split_once(": "));
        let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.map(|(_, count)| count.parse::<usize>().expect("a number")).sum();
        while rest.len() < length {
            more(&mut stream, &mut rest).await?;
        }
        Ok(Err((status, String::from_utf8(rest).expect("text"))))
    }
}

async fn more(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(answer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

impl Sock {
    fn feed(&mut self, bytes: &[u8]) {
        let got = &mut self.got;
        let fed = self.reader.feed(bytes, |opcode, payload| match opcode {
            Opcode::Text => got.push_back(Got::Frame(
                serde_json::from_slice(payload).expect("JSON"),
                payload.to_vec(),
            )),
            Opcode::Close => got.push_back(Got::Close(match payload {
                [high, low, ..] => u16::from_be_bytes([*high, *low]),
                _ => 1005,
            })),
            Opcode::Ping | Opcode::Pong => {}
        });
        fed.expect("frames of a server");
    }

    /// Whatever comes next.
    pub async fn next(&mut self) -> Got {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(got) = self.got.pop_front() {
                return got;
            }
            match within("a frame", self.stream.read(&mut buffer)).await {
                Ok(0) | Err(_) => return Got::End,
                Ok(count) => self.feed(&buffer[..count]),
            }
        }
    }

    /// The next frame but presence, which comes when it comes.
    pub async fn frame(&mut self) -> Value {
        loop {
            match self.next().await {
                Got::Frame(frame, _) if frame["type"] == "presence" => {}
                Got::Frame(frame, _) => return frame,
                other => panic!("a frame was expected, {other:?} came"),
            }
        }
    }

    /// The next frame but presence, which must be of this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let frame = self.frame().await;
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The next error, which must have this code.
    pub async fn error(&mut self, code: &str) -> Value {
        let frame = self.expect("error").await;
        assert_eq!(frame["code"], code, "{frame}");
        frame
    }

    /// The next frame of this type, whatever comes before it.
    pub async fn until(&mut self, kind: &str) -> Value {
        let mut before = self.all_until(kind).await;
        before.pop().expect("the frame")
    }

    /// Every frame up to the next one of this type, that one included.
    pub async fn all_until(&mut self, kind: &str) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                Got::Frame(frame, _) => {
                    let last = frame["type"] == kind;
                    frames.push(frame);
                    if last {
                        return frames;
                    }
                }
                other => panic!("waiting for {kind:?}: {other:?} came after {frames:?}"),
            }
        }
    }

    /// The frames of this type up to the socket's end, and the close code if one came.
    pub async fn rest(&mut self, kind: &str) -> (Vec<Value>, Option<u16>) {
        let (mut frames, mut code) = (Vec::new(), None);
        loop {
            match self.next().await {
                Got::Frame(frame, _) if frame["type"] == kind => frames.push(frame),
                Got::Frame(..) => {}
                Got::Close(found) => code = Some(found),
                Got::End => return (frames, code),
            }
        }
    }

    /// The close code; frames before it are passed over.
    pub async fn closed(&mut self) -> Option<u16> {
        self.rest("bye").await.1
    }

    /// Sends bytes as they are; the outcome shows in what comes.
    pub async fn raw(&mut self, bytes: &[u8]) {
        let _ = within("room to write", self.stream.write_all(bytes)).await;
    }

    /// Sends text, which need not be JSON.
    pub async fn text(&mut self, text: &str) {
        self.raw(&mask_frame(Opcode::Text, text.as_bytes(), [7, 1, 9, 2])).await;
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: Value) {
        self.text(&frame.to_string()).await;
    }

    /// Sends a message on a one-room socket and waits for its `ack`; nothing but presence may come before it.
    pub async fn say(&mut self, text: &str) -> Value {
        self.send(json!({ "message": text })).await;
        self.expect("ack").await
    }

    /// The next message, which must read so.
    pub async fn hears(&mut self, text: &str) -> Value {
        let frame = self.expect("message").await;
        assert_eq!(frame["message"], text, "{frame}");
        frame
    }

    /// Sends a request and takes its answer; other frames are passed over.
    pub async fn ask(&mut self, mut frame: Value) -> Value {
        frame["ref"] = json!("asked");
        self.send(frame).await;
        loop {
            match self.next().await {
                Got::Frame(frame, _) if frame["ref"] == "asked" => return frame,
                Got::Frame(..) => {}
                other => panic!("an answer was expected, {other:?} came"),
            }
        }
    }

    /// Splits it, so that a test can read and write at once.
    pub fn split(self) -> (Hearing, tokio::net::tcp::OwnedWriteHalf) {
        let (read, write) = self.stream.into_split();
        let hearing = Hearing {
            read,
            reader: self.reader,
            got: self.got,
        };
        (hearing, write)
    }
}

/// The reading end of a socket.
pub struct Hearing {
    read: tokio::net::tcp::OwnedReadHalf,
    reader: FrameReader,
    got: VecDeque<Got>,
}

impl Hearing {
    /// The next frame; `None` at the end of the stream, however it ends.
    pub async fn next(&mut self) -> Option<Value> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(Got::Frame(frame, _)) = self.got.pop_front() {
                return Some(frame);
            }
            let count = within("a frame", self.read.read(&mut buffer)).await.unwrap_or(0);
            if count == 0 {
                return None;
            }
            let got = &mut self.got;
            let fed = self.reader.feed(&buffer[..count], |opcode, payload| {
                if opcode == Opcode::Text {
                    got.push_back(Got::Frame(serde_json::from_slice(payload).expect("JSON"), Vec::new()));
                }
            });
            fed.expect("frames of a server");
        }
    }
}
