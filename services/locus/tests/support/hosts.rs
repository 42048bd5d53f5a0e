//! A market whose services are processes of their own: a chain node, three keyholders, archive, exchange and
//! aggregator, each with a configuration file, a certificate and a folder.

use super::{PATIENCE, Reach, User, run, text};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::JoinHandle,
};

/// Names the program of the chain node.
const ANVIL_VARIABLE: &str = "LOCUS_ANVIL";
/// Set where these tests may not be left out.
const REQUIRED_VARIABLE: &str = "LOCUS_ANVIL_REQUIRED";
/// Key of the first account of every Anvil, which has money.
const OPERATOR_KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// Wraps the keyholders' keys; each real one has its own.
const KEK: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// Where the search for free ports begins and ends; systems take ports of their own accord from 32768 (Linux) or
/// 49152 (RFC 6335) on.
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 32_768;
/// Names the binary of the cluster.
const CLUSTER_VARIABLE: &str = "LOCUS_CLUSTER";
/// Services in the order in which they start.
const SERVICES: [&str; 6] = ["keyholder-1", "keyholder-2", "keyholder-3", "exchange", "archive", "aggregator"];

/// A chain node; ends with this value.
pub struct Anvil {
    process: Child,
    pub url: String,
    /// Where it writes its chain when it is told to end, and finds it when it starts again.
    state: PathBuf,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Anvil {
    /// A fresh node that makes a block for every transaction and one every second; a block is final when two
    /// follow. `None` where there is none, unless one is required.
    pub fn start(dir: &Path) -> Option<Self> {
        if std::env::var_os(ANVIL_VARIABLE).is_none() {
            let is_required = std::env::var_os(REQUIRED_VARIABLE).is_some();
            assert!(!is_required, "{REQUIRED_VARIABLE} is set, but {ANVIL_VARIABLE} names no Anvil program");
            eprintln!("not run: {ANVIL_VARIABLE} names no Anvil program");
            return None;
        }
        let state = dir.join("chain.json");
        let (process, address) = Self::run(&state, "0");
        Some(Self { process, url: format!("http://{address}"), state })
    }

    /// Ends the node, which keeps nothing on disk while it runs, and starts another with its chain at its address.
    pub fn restart(&mut self) {
        signal(&self.process, "-TERM");
        self.process.wait().expect("it ended");
        let port = self.url.rsplit(':').next().expect("a port").to_owned();
        let (process, address) = Self::run(&self.state, &port);
        self.process = process;
        assert_eq!(self.url, format!("http://{address}"));
    }

    /// A node on `port`, and where it listens.
    fn run(state: &Path, port: &str) -> (Child, String) {
        let program = std::env::var_os(ANVIL_VARIABLE).expect("a program");
        let mut process = Command::new(&program)
            .args(["--port", port, "--host", "127.0.0.1", "--accounts", "1"])
            .args(["--block-time", "1", "--mixed-mining", "--slots-in-an-epoch", "1", "--state"])
            .arg(state)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program:?} does not start: {error}"));
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let address = lines.find_map(|line| line.ok()?.strip_prefix("Listening on ").map(str::to_owned));
        // It writes on; nobody may leave the pipe full.
        std::thread::spawn(move || lines.for_each(drop));
        (process, address.expect("it listens"))
    }
}

fn signal(process: &Child, name: &str) {
    let pid = process.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
}

/// What a process has written so far.
#[derive(Default)]
struct Log {
    written: Mutex<Written>,
    grown: Condvar,
}

#[derive(Default)]
struct Written {
    text: String,
    /// Whether the process has ended.
    is_whole: bool,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().expect("no thread failed in here")
    }

    /// Takes in everything that the process writes until it ends.
    fn follow(&self, mut from: impl BufRead) {
        let mut line = Vec::new();
        // A killed process leaves whatever it wrote.
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            self.lock().text += &text(&line);
            self.grown.notify_all();
            line.clear();
        }
        self.lock().is_whole = true;
        self.grown.notify_all();
    }

    /// Waits until a line after the first `from` bytes has all `words`.
    fn wait_for(&self, from: usize, words: &[&str]) {
        let says =
            |written: &Written| written.text[from..].lines().any(|line| words.iter().all(|word| line.contains(word)));
        let is_missing = |written: &mut Written| !written.is_whole && !says(written);
        let waited = self.grown.wait_timeout_while(self.lock(), PATIENCE, is_missing);
        let (written, _) = waited.expect("no thread failed in here");
        assert!(says(&written), "{words:?} are missing in {}", &written.text[from..]);
    }
}

/// A service that runs; killed when dropped.
pub struct Service {
    process: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Service {
    /// Tells it to end as a host that shuts down would; its exit code and its log.
    pub fn terminate(mut self) -> (Option<i32>, String) {
        signal(&self.process, "-TERM");
        let code = self.process.wait().expect("it ended").code();
        (code, self.whole_log())
    }

    /// Ends it at once.
    pub fn kill(mut self) -> String {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ended");
        self.whole_log()
    }

    /// Stops it where it is, until it is told to go on.
    pub fn freeze(&self) {
        signal(&self.process, "-STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        signal(&self.process, "-CONT");
    }

    /// How much it has written.
    pub fn written(&self) -> usize {
        self.log.lock().text.len()
    }

    /// Whether it has written these words.
    pub fn says(&self, words: &str) -> bool {
        self.log.lock().text.contains(words)
    }

    /// Waits until a line that comes after the first `from` bytes has all `words`.
    pub fn wait_for(&self, from: usize, words: &[&str]) {
        self.log.wait_for(from, words);
    }

    fn whole_log(&mut self) -> String {
        self.reader.take().expect("it ends once").join().expect("the log was read");
        std::mem::take(&mut self.log.lock().text)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

/// A folder with everything that the services of a market need, and the chain node.
pub struct Hosts {
    pub dir: PathBuf,
    pub anvil: Anvil,
    ports: Vec<u16>,
    observe_ports: Vec<u16>,
}

impl Hosts {
    /// Keys, deployment with `options`, certificates and configuration files in `dir`, by the commands that operators
    /// use.
    pub fn prepare(dir: &Path, biobank: &User, options: &[&str]) -> Option<Self> {
        fs::create_dir_all(dir).expect("a folder");
        let anvil = Anvil::start(dir)?;
        let operator = dir.join("operator.key");
        fs::write(&operator, OPERATOR_KEY).expect("written");
        fs::set_permissions(&operator, fs::Permissions::from_mode(0o600)).expect("closed");
        let [ports, observe_ports] = [free_ports(SERVICES.len()), free_ports(SERVICES.len())];
        let hosts = Self { dir: dir.to_owned(), anvil, ports, observe_ports };
        let kek = hosts.path("kek");
        fs::write(&kek, KEK).expect("written");
        fs::set_permissions(&kek, fs::Permissions::from_mode(0o600)).expect("closed");
        for index in ["1", "2", "3"] {
            let (data, public) =
                (hosts.path(&format!("keyholder-{index}")), hosts.path(&format!("public-{index}.json")));
            let made = program("locus-keyholder")
                .args(["init", "--index", index, "--data-dir", &data, "--public", &public, "--kek-file", &kek])
                .output()
                .expect("it starts");
            assert!(made.status.success(), "{}", text(&made.stderr));
        }
        let accreditor = format!("{}=Biobank", biobank.accreditor());
        let deployed = hosts.deploy(&[&["--test-network", "--accreditor", &accreditor][..], options].concat());
        assert!(deployed.status.success(), "{}", text(&deployed.stderr));
        let tls = hosts.path("tls");
        let roles = "archive,exchange,aggregator,engine,keyholder/1,keyholder/2,keyholder/3";
        for words in [vec!["tls", "init", &tls], vec!["tls", "issue", &tls, "--role", roles]] {
            let done = run(&words);
            assert!(done.status.success(), "{}", text(&done.stderr));
        }
        for service in SERVICES {
            fs::write(hosts.config(service), hosts.config_text(service)).expect("written");
        }
        Some(hosts)
    }

    /// `locus deploy` on the node, with `options`.
    pub fn deploy(&self, options: &[&str]) -> Output {
        let public = ["1", "2", "3"].map(|index| self.path(&format!("public-{index}.json"))).join(",");
        let operator = self.path("operator.key");
        let out = self.path("deployment.json");
        let fixed = ["deploy", "--json", "--rpc", &self.anvil.url, "--operator-key", &operator, "--keyholder", &public];
        run(&[&fixed[..], &["--out", &out], options].concat())
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().expect("utf-8").to_owned()
    }

    /// Configuration file of a service.
    pub fn config(&self, service: &str) -> String {
        self.path(&format!("{service}.toml"))
    }

    fn url(&self, service: &str) -> String {
        format!("https://127.0.0.1:{}", self.ports[place(service)])
    }

    fn config_text(&self, service: &str) -> String {
        let port = self.ports[place(service)];
        let observe = self.observe_ports[place(service)];
        let path = |name: &str| self.path(name);
        let keyholders = ["keyholder-1", "keyholder-2", "keyholder-3"].map(|keyholder| self.url(keyholder));
        let store = path("objects");
        let (stem, own) = match service.strip_prefix("keyholder-") {
            Some(index) => {
                let peers: Vec<String> = (1..=3)
                    .filter(|other| other.to_string() != index)
                    .map(|other| format!("{other} = {:?}\n", keyholders[other - 1]))
                    .collect();
                let kek = self.path("kek");
                (
                    "keyholder",
                    format!("index = {index}\nkek_file = {kek:?}\nstore_url = {store:?}\n[peers]\n{}", peers.concat()),
                )
            }
            None if service == "exchange" => (service, format!("sender_key_file = {:?}\n", path("operator.key"))),
            None => {
                let exchange = if service == "aggregator" {
                    format!("exchange = {:?}\n", self.url("exchange"))
                } else {
                    String::new()
                };
                (service, format!("store_url = {store:?}\nkeyholders = {keyholders:?}\n{exchange}"))
            }
        };
        assert!(service.starts_with(stem));
        format!(
            "listen = \"127.0.0.1:{port}\"\ndata_dir = {:?}\nchain_url = {:?}\ndeployment_file = {:?}\n{own}\n\
             [observe]\nlisten = \"127.0.0.1:{observe}\"\nlog_json = true\n\
             [front.tls]\ncertificate = {:?}\nkey = {:?}\nauthority = {:?}\ntrust_domain = \"locus.local\"\n",
            path(service),
            self.anvil.url,
            path("deployment.json"),
            path(&format!("tls/{service}.pem")),
            path(&format!("tls/{service}.key")),
            path("tls/ca.pem"),
        )
    }

    /// What `--check-config` says about a service.
    pub fn check(&self, service: &str, variables: &[(&str, &str)]) -> Output {
        let mut command = program_of(service);
        command.args([&self.config(service), "--check-config"]).envs(variables.iter().copied());
        command.output().expect("it starts")
    }

    /// Starts a service and waits until it says that it has started.
    pub fn start(&self, service: &str) -> Service {
        let mut process = program_of(service)
            .arg(self.config(service))
            .env("LOCUS_LOG", "debug,h2=info,hyper=info,rustls=info,tower=info")
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stderr = BufReader::new(process.stderr.take().expect("piped"));
        let log = Arc::new(Log::default());
        let written = log.clone();
        let reader = std::thread::spawn(move || written.follow(stderr));
        log.wait_for(0, &["\"started\""]);
        Service { process, log, reader: Some(reader) }
    }

    /// Writes the configuration of a cluster, a `scheduler` and two executors (`executor-1`, `executor-2`), and tells the
    /// aggregator to have every sum computed there when it starts the next time.
    pub fn add_cluster(&self) {
        // An executor takes the port after its own as well.
        let ports = free_ports(6);
        let storage = format!(
            "[storage]\nstore_url = {:?}\nscratch_url = {:?}\n[observe]\nlog_json = true\n",
            self.path("objects"),
            self.path("scratch")
        );
        let tls = format!(
            "[front.tls]\ncertificate = {:?}\nkey = {:?}\nauthority = {:?}\ntrust_domain = \"locus.local\"\n",
            self.path("tls/engine.pem"),
            self.path("tls/engine.key"),
            self.path("tls/ca.pem")
        );
        let scheduler = format!(
            "listen = \"127.0.0.1:{}\"\ncluster_listen = \"127.0.0.1:{}\"\ntasks = 4\n{storage}{tls}",
            ports[0], ports[1]
        );
        fs::write(self.config("scheduler"), scheduler).expect("written");
        for (name, port) in [("executor-1", ports[2]), ("executor-2", ports[4])] {
            let config = format!(
                "host = \"127.0.0.1\"\nport = {port}\nscheduler_host = \"127.0.0.1\"\nscheduler_port = {}\n\
                 processors = 1\nwork_dir = {:?}\n{storage}",
                ports[1],
                self.path(name)
            );
            fs::write(self.config(name), config).expect("written");
        }
        let file = self.config("aggregator");
        let config = fs::read_to_string(&file).expect("a configuration");
        let cluster = format!("[cluster]\nurl = \"https://127.0.0.1:{}\"\nbodies_min = 1\nwait_s = 100\n", ports[0]);
        fs::write(file, config + &cluster).expect("written");
    }

    /// Tells every service and process of a cluster that the market's ciphertexts are at `url`, when they start the
    /// next time.
    pub fn keep_ciphertexts_at(&self, url: &str, options: &BTreeMap<String, String>) {
        let folder = format!("store_url = {:?}", self.path("objects"));
        let options: String = options.iter().map(|(key, value)| format!("{key} = {value:?}\n")).collect();
        for process in SERVICES.iter().chain(&["scheduler", "executor-1", "executor-2"]) {
            let Ok(config) = fs::read_to_string(self.config(process)) else { continue };
            let table = if config.contains("[storage]") { "storage.store_options" } else { "store_options" };
            if config.contains(&folder) {
                let moved = config.replace(&folder, &format!("store_url = {url:?}"));
                fs::write(self.config(process), format!("{moved}[{table}]\n{options}")).expect("written");
            }
        }
    }

    /// Makes a service reach the chain at another address when it starts the next time.
    pub fn reach_chain_at(&self, service: &str, url: &str) {
        let file = self.config(service);
        let config = fs::read_to_string(&file).expect("a configuration").replace(&self.anvil.url, url);
        fs::write(file, config).expect("written");
    }

    /// Starts every service.
    pub fn start_all(&self) -> Vec<Service> {
        SERVICES.iter().map(|service| self.start(service)).collect()
    }

    /// What a service answers on its address for operators.
    pub fn observe(&self, service: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.observe_ports[place(service)])).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        answer
    }

    /// Runs `locus-keyholder` with these words.
    pub fn keyholder(&self, words: &[&str]) -> Output {
        program("locus-keyholder").args(words).output().expect("it starts")
    }

    /// What `locus-keyholder audit verify` says about the record in `file`, and whether it contains `noted`.
    pub fn audit(&self, file: &str, noted: Option<&str>) -> Output {
        let mut command = program("locus-keyholder");
        command.args(["audit", "verify", file]);
        if let Some(head) = noted {
            command.args(["--contains", head]);
        }
        command.output().expect("it starts")
    }

    /// The description that `locus deploy` wrote.
    pub fn deployment(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path("deployment.json")).expect("written")).expect("JSON")
    }
}

impl Reach for Hosts {
    fn options(&self) -> Vec<String> {
        let keyholders = ["keyholder-1", "keyholder-2", "keyholder-3"].map(|keyholder| self.url(keyholder)).join(",");
        let mut options = vec!["--ca".to_owned(), self.path("tls/ca.pem"), "--keyholders".to_owned(), keyholders];
        for service in ["archive", "exchange", "aggregator"] {
            options.extend([format!("--{service}"), self.url(service)]);
        }
        options
    }
}

fn place(service: &str) -> usize {
    SERVICES.iter().position(|name| *name == service).expect("a service")
}

/// Neighbouring ports, free and outside the range from which the system takes ports of its own accord: a
/// connection that some process opens before the service listens cannot take one.
fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: Mutex<u16> = Mutex::new(FIRST_PORT);
    let mut next = NEXT.lock().expect("no test failed in here");
    let run = usize::from(LAST_PORT) - count;
    let mut listeners: Vec<TcpListener> = Vec::new();
    while listeners.len() < count {
        assert!(usize::from(*next) < run, "{count} free ports");
        match TcpListener::bind(("127.0.0.1", *next)) {
            Ok(listener) => listeners.push(listener),
            Err(_) => listeners.clear(),
        }
        *next += 1;
    }
    listeners.iter().map(|bound| bound.local_addr().expect("bound").port()).collect()
}

fn program_of(service: &str) -> Command {
    if let Some(kind) = ["scheduler", "executor"].into_iter().find(|kind| service.starts_with(kind)) {
        let binary = std::env::var_os(CLUSTER_VARIABLE).expect("the binary is named: cargo xtask e2e does it");
        let mut command = Command::new(binary);
        command.arg(kind);
        return command;
    }
    program(
        if service.starts_with("keyholder") { "locus-keyholder".to_owned() } else { format!("locus-{service}") }
            .as_str(),
    )
}

/// A binary beside `locus`.
fn program(name: &str) -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_locus")).with_file_name(name);
    assert!(path.is_file(), "{} is not built: run the tests with --workspace", path.display());
    Command::new(path)
}
