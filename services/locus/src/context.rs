//! What every command needs: the folder of the user, the market, panels.

use crate::{
    cli::{Global, TierArg},
    error::CommandError,
    output::Output,
};
use locus_client::{DataFolder, Keystore, Network, ServiceChannels, Services, fetch_panel, list_panels};
use locus_commitment::Digest32;
use locus_genomics::{Panel, PanelDigest};
use locus_ledger::OrderId;
use locus_privacy::Tier;
use locus_service::{Connector, connect_lazy, public_connector};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};
use url::Url;

/// Permissions of folders that hold genotypes or records.
const PRIVATE_FOLDER_MODE: u32 = 0o700;
/// Largest panel file.
const PANEL_BYTES_MAX: u64 = 64 << 20;

/// The user's folder, the market's addresses and the way to print.
pub(crate) struct Context {
    pub(crate) home: PathBuf,
    pub(crate) folder: DataFolder,
    pub(crate) output: Output,
    endpoint: String,
    keyholders: Vec<String>,
    apart: Apart,
    is_home_named: bool,
}

/// Services with addresses of their own, and whom to believe about them.
struct Apart {
    archive: Option<String>,
    exchange: Option<String>,
    aggregator: Option<String>,
    ca: Option<PathBuf>,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Result<Self, CommandError> {
        let home = match &global.data_dir {
            Some(folder) => folder.clone(),
            None => default_home()?,
        };
        Ok(Self {
            folder: DataFolder::new(&home),
            home,
            output: Output::new(global.json),
            endpoint: global.endpoint.clone(),
            keyholders: global.keyholders.clone(),
            apart: Apart {
                archive: global.archive.clone(),
                exchange: global.exchange.clone(),
                aggregator: global.aggregator.clone(),
                ca: global.ca.clone(),
            },
            is_home_named: global.data_dir.is_some(),
        })
    }

    /// The folder of a market on this machine: the one named, else one in the user's folder.
    pub(crate) fn market_folder(&self) -> PathBuf {
        if self.is_home_named { self.home.clone() } else { self.home.join("market") }
    }

    /// Clients of all services; connected at their first call.
    pub(crate) fn services(&self) -> Result<Services, CommandError> {
        let channel = |url: &str| Ok::<_, CommandError>(connect_lazy(&self.connector(url)?)?);
        let [first, second, third] = self.keyholder_urls()?;
        let market = channel(&self.endpoint)?;
        let apart = |url: &Option<String>| url.as_ref().map_or_else(|| Ok(market.clone()), |url| channel(url));
        Ok(Services::new(ServiceChannels {
            archive: apart(&self.apart.archive)?,
            exchange: apart(&self.apart.exchange)?,
            aggregator: apart(&self.apart.aggregator)?,
            keyholders: [channel(&first)?, channel(&second)?, channel(&third)?],
        }))
    }

    /// How to reach a service.
    fn connector(&self, url: &str) -> Result<Connector, CommandError> {
        if url.starts_with("https://") {
            Ok(public_connector(url, self.apart.ca.as_deref())?)
        } else {
            Ok(Connector::Url(url.to_owned()))
        }
    }

    fn keyholder_urls(&self) -> Result<[String; 3], CommandError> {
        match <[String; 3]>::try_from(self.keyholders.clone()) {
            Ok(urls) => Ok(urls),
            Err(given) if given.is_empty() => keyholders_beside(&self.endpoint),
            Err(given) => Err(CommandError::Usage(format!("--keyholders names {} addresses: give three", given.len()))),
        }
    }

    /// The market, compared with the one that this folder knows.
    pub(crate) async fn network(&self, services: &Services) -> Result<Network, CommandError> {
        Ok(Network::fetch_pinned(services, &self.folder.network_file()).await?)
    }

    /// The market as this folder knows it.
    pub(crate) fn known_network(&self) -> Result<Network, CommandError> {
        let known = Network::load(&self.folder.network_file())?;
        let unknown =
            || format!("{} knows no market: give the --data-dir that the answer was bought with", self.home.display());
        known.ok_or_else(|| CommandError::Usage(unknown()))
    }

    /// The user's keys.
    pub(crate) fn keystore(&self) -> Result<Keystore, CommandError> {
        Ok(Keystore::open(&self.folder.keys())?)
    }

    /// A panel by file, or by digest or name from the archive. Panels are kept, so that answers can
    /// be checked without any service.
    pub(crate) async fn panel(&self, text: &str, services: &Services) -> Result<Panel, CommandError> {
        let path = Path::new(text);
        if path.is_file() {
            let panel = read_panel(path)?;
            self.keep_panel(&panel)?;
            return Ok(panel);
        }
        let digest = match parse_digest(text) {
            Some(digest) => PanelDigest(digest.0),
            None => {
                let listed = list_panels(services).await?;
                let mut named = listed.iter().filter(|panel| panel.name == text);
                let first = named.next().ok_or_else(|| CommandError::NoSuchPanel(text.to_owned()))?;
                if named.next().is_some() {
                    return Err(CommandError::AmbiguousPanel(text.to_owned()));
                }
                first.digest
            }
        };
        if let Some(panel) = self.kept_panel(digest)? {
            return Ok(panel);
        }
        let panel = fetch_panel(services, digest).await?;
        self.keep_panel(&panel)?;
        Ok(panel)
    }

    /// A panel kept by an earlier command.
    pub(crate) fn kept_panel(&self, digest: PanelDigest) -> Result<Option<Panel>, CommandError> {
        let path = self.panel_file(digest);
        if !path.is_file() {
            return Ok(None);
        }
        let panel = read_panel(&path)?;
        Ok(Some(panel).filter(|panel| panel.digest() == digest))
    }

    fn panel_file(&self, digest: PanelDigest) -> PathBuf {
        self.home.join("panels").join(format!("{digest}.panel"))
    }

    fn keep_panel(&self, panel: &Panel) -> Result<(), CommandError> {
        let path = self.panel_file(panel.digest());
        if path.is_file() {
            return Ok(());
        }
        private_folder(&self.home.join("panels"))?;
        write_in_one_step(&path, &panel.to_canonical_bytes())
    }

    /// A folder that only the user may enter, for temporary files with genotypes.
    pub(crate) fn scratch(&self) -> Result<PathBuf, CommandError> {
        let path = self.home.join("scratch");
        private_folder(&path)?;
        Ok(path)
    }
}

/// The folder of a user who names none.
fn default_home() -> Result<PathBuf, CommandError> {
    if let Some(home) = std::env::var_os("LOCUS_HOME").filter(|home| !home.is_empty()) {
        return Ok(PathBuf::from(home));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let missing =
        || CommandError::Usage("neither LOCUS_HOME nor HOME is set: name a folder with --data-dir".to_owned());
    Ok(PathBuf::from(home.ok_or_else(missing)?).join(".local/share/locus"))
}

/// The three ports after the endpoint's.
fn keyholders_beside(endpoint: &str) -> Result<[String; 3], CommandError> {
    let bad =
        |reason: &str| CommandError::Usage(format!("--endpoint {endpoint} {reason}: write it as http://HOST:PORT"));
    let url = Url::parse(endpoint).map_err(|_| bad("is no address"))?;
    let port = url.port_or_known_default().ok_or_else(|| bad("has no port"))?;
    let beside = |offset: u16| {
        let mut other = url.clone();
        let port = port.checked_add(offset).ok_or_else(|| bad("leaves no ports for keyholders"))?;
        other.set_port(Some(port)).map_err(|()| bad("has no host"))?;
        Ok::<_, CommandError>(other.to_string().trim_end_matches('/').to_owned())
    };
    Ok([beside(1)?, beside(2)?, beside(3)?])
}

pub(crate) fn read_panel(path: &Path) -> Result<Panel, CommandError> {
    let bytes = fs::metadata(path).map_err(CommandError::file(path))?.len();
    if bytes > PANEL_BYTES_MAX {
        return Err(CommandError::Usage(format!("{} has {bytes} bytes, more than any panel", path.display())));
    }
    let content = fs::read(path).map_err(CommandError::file(path))?;
    Panel::from_canonical_bytes(&content).map_err(|source| CommandError::PanelFile { path: path.to_path_buf(), source })
}

/// Makes a folder that only its owner may enter.
pub(crate) fn private_folder(path: &Path) -> Result<(), CommandError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(PRIVATE_FOLDER_MODE).create(path).map_err(CommandError::file(path))
}

/// Writes a file that is there whole or not at all.
pub(crate) fn write_in_one_step(path: &Path, content: &[u8]) -> Result<(), CommandError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&partial)
        .map_err(CommandError::file(&partial))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(CommandError::file(&partial))?;
    fs::rename(&partial, path).map_err(CommandError::file(path))
}

/// Digests as they are printed: 64 hexadecimal digits.
pub(crate) fn parse_digest(text: &str) -> Option<Digest32> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut digest).ok()?;
    Some(Digest32(digest))
}

/// An order as it is printed.
pub(crate) fn parse_order(text: &str) -> Result<OrderId, CommandError> {
    let refused = || CommandError::Usage(format!("{text} is not an order: orders have 64 hexadecimal digits"));
    parse_digest(text).map(OrderId).ok_or_else(refused)
}

pub(crate) fn tiers(arguments: &[TierArg]) -> Vec<Tier> {
    arguments.iter().copied().map(Tier::from).collect()
}

/// The machine's time in seconds since 1970.
pub(crate) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyholders_take_the_next_three_ports() {
        let urls = keyholders_beside("http://127.0.0.1:7400").expect("an address");
        assert_eq!(urls, ["http://127.0.0.1:7401", "http://127.0.0.1:7402", "http://127.0.0.1:7403"]);
        assert!(keyholders_beside("http://127.0.0.1:65534").is_err());
        assert!(keyholders_beside("nonsense").is_err());
    }

    #[test]
    fn digests_parse_with_and_without_prefix() {
        let text = "00ff".repeat(16);
        assert_eq!(parse_digest(&text), parse_digest(&format!("0x{text}")));
        assert!(parse_digest(&text).is_some());
        assert_eq!(parse_digest(&text[..62]), None);
        assert!(parse_order("xyz").is_err());
    }

    #[test]
    fn a_file_that_is_no_panel_is_named_with_the_way_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x.panel");
        fs::write(&path, b"junk").expect("written");
        let error = read_panel(&path).expect_err("no panel").to_string();
        assert!(error.contains("x.panel") && error.contains("locus panel build"), "{error}");
    }
}
