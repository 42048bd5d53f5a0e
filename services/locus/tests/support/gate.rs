//! A gate between a service and its chain node, which holds chosen calls until it is opened.

use super::{PATIENCE, errors_of};
use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Child,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// How often a command that should lead to a call is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What of a call is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The call: the node does not see it.
    Call,
    /// The answer: the node has done what it was asked, and the service does not know.
    Answer,
}

#[derive(Debug, Default)]
struct State {
    /// Words of the calls that are held, and what is held of them; `None` while the gate is open.
    closed: Option<(&'static [&'static str], Held)>,
    /// Whether a call has been held since the gate was closed.
    holds: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A gate, open at first.
#[derive(Debug)]
pub struct Gate {
    /// The address that the service is given for its node.
    pub url: String,
    shared: Arc<Shared>,
}

impl Gate {
    /// A gate in front of the node at `url`.
    pub fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let own = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared::default());
        let (node, doors) = (url.strip_prefix("http://").expect("a node without TLS").to_owned(), shared.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (node, doors) = (node.clone(), doors.clone());
                // A connection that breaks is the service's or the node's to make again.
                std::thread::spawn(move || doors.carry(&node, stream));
            }
        });
        Self { url: format!("http://{own}"), shared }
    }

    /// Holds the calls that contain all of `words` from now on.
    pub fn close(&self, words: &'static [&'static str], held: Held) {
        *self.shared.lock() = State { closed: Some((words, held)), holds: false };
    }

    /// Waits until a call is held, which the command `making` leads to.
    pub fn wait_until_held(&self, making: &mut Child) {
        let give_up = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        while !state.holds {
            let ended = making.try_wait().expect("a child");
            assert!(ended.is_none(), "the command ended before a call with {:?}: {}", state.closed, errors_of(making));
            assert!(Instant::now() < give_up, "no call with {:?} was made", state.closed);
            let waited = self.shared.changed.wait_timeout(state, LOOK_AGAIN);
            state = waited.expect("no thread failed in here").0;
        }
    }

    /// Lets everything pass.
    pub fn open(&self) {
        self.shared.lock().closed = None;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread failed in here")
    }

    /// Carries one connection's calls, each on a connection of its own to the node, which may be another process by now.
    fn carry(&self, node: &str, mut service: TcpStream) -> io::Result<()> {
        let mut calls = BufReader::new(service.try_clone()?);
        while let Some(call) = read_message(&mut calls)? {
            self.pass(&call, Held::Call);
            let mut onwards = TcpStream::connect(node)?;
            onwards.write_all(&call)?;
            let answer = read_message(&mut BufReader::new(onwards))?.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.pass(&call, Held::Answer);
            service.write_all(&answer)?;
        }
        Ok(())
    }

    /// Waits while the gate is closed for this part of this call.
    fn pass(&self, call: &[u8], part: Held) {
        let text = String::from_utf8_lossy(call);
        let is_held = |state: &State| {
            state.closed.is_some_and(|(words, held)| held == part && words.iter().all(|word| text.contains(word)))
        };
        let mut state = self.lock();
        while is_held(&state) {
            state.holds = true;
            self.changed.notify_all();
            state = self.changed.wait(state).expect("no thread failed in here");
        }
    }
}

/// An HTTP/1.1 message with its length in the head; `None` at the end of the connection.
fn read_message(from: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    let mut length = 0;
    loop {
        let start = message.len();
        if from.read_until(b'\n', &mut message)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&message[start..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let head = message.len();
    message.resize(head + length, 0);
    from.read_exact(&mut message[head..])?;
    Ok(Some(message))
}
