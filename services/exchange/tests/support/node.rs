//! A chain node behind HTTP, with an embedded chain, that can be late: with what is final, and with a transaction.

use locus_ledger::EmbeddedChain;
use serde_json::{Value, json};
use std::{
    io::{self, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
};
use tokio::sync::watch;

/// What the node has not come round to yet.
#[derive(Debug, Clone, Default)]
struct Late {
    /// The last final block, instead of the newest.
    finalized: Option<u64>,
    /// Whether the next transaction is to be late.
    next: bool,
    /// The transaction that nobody is told a receipt of.
    transaction: Option<String>,
}

/// The node.
pub(crate) struct Node {
    pub(crate) url: String,
    chain: EmbeddedChain,
    late: Arc<watch::Sender<Late>>,
}

impl Node {
    pub(crate) fn start(chain: EmbeddedChain) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let late = Arc::new(watch::Sender::new(Late::default()));
        let node = Self { url, chain: chain.clone(), late: late.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (chain, late) = (chain.clone(), late.clone());
                // A connection that breaks is the client's to make again.
                std::thread::spawn(move || serve(&chain, &late, stream));
            }
        });
        node
    }

    /// Nothing becomes final any more.
    pub(crate) fn stop_finality(&self) {
        let head = self.chain.head_number();
        self.late.send_modify(|late| late.finalized = Some(head));
    }

    /// Everything is final.
    pub(crate) fn resume_finality(&self) {
        self.late.send_modify(|late| late.finalized = None);
    }

    /// The next transaction has no receipt until [`include`](Self::include).
    pub(crate) fn delay_next(&self) {
        self.late.send_modify(|late| late.next = true);
    }

    /// Waits until that transaction was sent; returns its hash.
    pub(crate) async fn delayed(&self) -> String {
        let mut seen = self.late.subscribe();
        let late = seen.wait_for(|late| late.transaction.is_some()).await.expect("the node lives");
        late.transaction.clone().expect("it was sent")
    }

    pub(crate) fn include(&self) {
        self.late.send_modify(|late| late.transaction = None);
    }
}

fn serve(chain: &EmbeddedChain, late: &watch::Sender<Late>, mut stream: TcpStream) -> io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    while let Some(body) = read_body(&mut requests)? {
        let request: Value = serde_json::from_slice(&body)?;
        let method = request["method"].as_str().unwrap_or_default();
        let params = request["params"].as_array().cloned().unwrap_or_default();
        let mut answer = match answer(chain, late, method, params) {
            Ok(result) => json!({ "jsonrpc": "2.0", "result": result }),
            Err(error) => json!({ "jsonrpc": "2.0", "error": error }),
        };
        answer["id"] = request["id"].clone();
        let body = answer.to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
    }
    Ok(())
}

/// The body of the next request; `None` at the end of the connection.
fn read_body(requests: &mut impl io::BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if requests.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    requests.read_exact(&mut body)?;
    Ok(Some(body))
}

fn answer(
    chain: &EmbeddedChain,
    late: &watch::Sender<Late>,
    method: &str,
    mut params: Vec<Value>,
) -> Result<Value, Value> {
    let now = late.borrow().clone();
    match method {
        "eth_getBlockByNumber" if params.first() == Some(&json!("finalized")) => {
            if let Some(finalized) = now.finalized {
                params[0] = json!(format!("{finalized:#x}"));
            }
        }
        "eth_getTransactionReceipt" if now.transaction.as_deref() == params.first().and_then(Value::as_str) => {
            return Ok(Value::Null);
        }
        "eth_sendRawTransaction" if now.next => {
            let hash = chain.answer(method, params)?;
            let transaction = hash.as_str().map(str::to_owned);
            late.send_modify(|late| (late.next, late.transaction) = (false, transaction));
            return Ok(hash);
        }
        _ => {}
    }
    chain.answer(method, params)
}
