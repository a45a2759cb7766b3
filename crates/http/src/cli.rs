//! The command line of the binary `roadstead`, and the reference of its configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser};
use roadstead_core::{Error, Result};

use crate::alerts::{self, AlertConfig};
use crate::config::{Config, Layer, LogFormat, NodeConfig, StoreConfig};
use crate::dialects::{self, DialectConfig};

/// One API over every container engine.
#[derive(Debug, Parser)]
#[command(
    name = "roadstead",
    version,
    about = "One API over every container engine",
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do; `serve` when absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Without a command: serves with these settings.
    #[command(flatten)]
    pub serve: Serve,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Serves the REST API.
    Serve(Box<Serve>),
    /// Works with stores, which servers keep what they must remember in.
    Store {
        /// What to do.
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Prints the completions of a shell, to be read by it.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What to do with stores.
#[derive(Debug, clap::Subcommand)]
pub enum StoreCommand {
    /// Copies a store into another, empty one, and compares both. No server may use either meanwhile. What is sealed stays sealed,
    /// with the same key.
    Copy {
        /// The store to copy, such as `sqlite:/var/lib/roadstead/roadstead.db`.
        #[arg(value_name = "FROM")]
        from: String,
        /// The empty store to copy to, such as `etcd+https://USER@HOST,HOST/PREFIX?password_file=FILE`. One that an earlier copy was not
        /// completed into is emptied first.
        #[arg(value_name = "TO")]
        to: String,
    },
}

/// Settings of `serve`. Flags win over the environment, which wins over the file, which wins over the defaults.
#[derive(Debug, Default, clap::Args)]
pub struct Serve {
    /// Address to listen on; may be repeated. Other than loopback addresses need TLS.
    #[arg(long, value_name = "ADDR", env = "ROADSTEAD_LISTEN", value_delimiter = ',')]
    pub listen: Vec<SocketAddr>,
    /// Directory of the admin token and of the embedded store.
    #[arg(long, value_name = "DIR", env = "ROADSTEAD_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// The store: `sqlite:/path/to/file`, or a cluster that several servers share, such as
    /// `etcd+https://USER@HOST,HOST/PREFIX?password_file=FILE`; `roadstead.db` in the state directory when absent.
    #[arg(long, value_name = "URI", env = "ROADSTEAD_STORE", hide_env_values = true)]
    pub store: Option<String>,
    /// File of the key that the store is sealed with; made at the first start. Keep it apart from the store, and a copy of it: without
    /// it nothing in the store can be read.
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// Configuration file, TOML.
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_CONFIG")]
    pub config: Option<PathBuf>,
    /// A node; may be repeated. Without any, the engines of this machine are found by their usual sockets.
    #[arg(long = "node", value_name = "NAME=URI", env = "ROADSTEAD_NODES", value_delimiter = ' ', hide_env_values = true, value_parser = parse_node)]
    pub nodes: Vec<(String, NodeConfig)>,
    /// A rule of alerts, for example `busy=cpu > 90% for 30s`; may be repeated.
    #[arg(long = "alert", value_name = "NAME=RULE", env = "ROADSTEAD_ALERTS", value_delimiter = ';', value_parser = parse_alert)]
    pub alerts: Vec<AlertConfig>,
    /// A dialect to speak, below its name and, with an address, on a listener of its own; may be repeated. For example
    /// `copa=127.0.0.1:8000,anonymous=operate`.
    #[arg(long = "dialect", value_name = "NAME[=ADDR][,KEY=VALUE]...", env = "ROADSTEAD_DIALECTS", value_delimiter = ' ', hide_env_values = true, value_parser = DialectConfig::parse)]
    pub dialects: Vec<DialectConfig>,
    /// TLS certificate chain, PEM.
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// TLS key, PEM.
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, value_name = "FORMAT", env = "ROADSTEAD_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What is logged, for example `warn` or `info,roadstead_http=debug`.
    #[arg(long, value_name = "FILTER", env = "ROADSTEAD_LOG")]
    pub log: Option<String>,
    /// Time for one answer of an engine.
    #[arg(long, value_name = "SECONDS", env = "ROADSTEAD_REQUEST_TIMEOUT_SECONDS")]
    pub request_timeout_seconds: Option<u32>,
    /// Time for connecting to an engine.
    #[arg(long, value_name = "SECONDS", env = "ROADSTEAD_CONNECT_TIMEOUT_SECONDS")]
    pub connect_timeout_seconds: Option<u32>,
    /// Time for taking in an archive.
    #[arg(long, value_name = "SECONDS", env = "ROADSTEAD_ARCHIVE_TIMEOUT_SECONDS")]
    pub archive_timeout_seconds: Option<u32>,
    /// Time that running requests get when the server ends.
    #[arg(long, value_name = "SECONDS", env = "ROADSTEAD_DRAIN_TIMEOUT_SECONDS")]
    pub drain_timeout_seconds: Option<u32>,
    /// How long the result of a finished job is kept.
    #[arg(long, value_name = "SECONDS", env = "ROADSTEAD_KEEP_JOBS_SECONDS")]
    pub keep_jobs_seconds: Option<u32>,
    /// From one look at this machine's containers and processes to the next.
    #[arg(long, value_name = "SECONDS", env = "ROADSTEAD_SAMPLE_INTERVAL_SECONDS")]
    pub sample_interval_seconds: Option<f64>,
    /// How much of one core looking may use; it slows down rather than use more.
    #[arg(long, value_name = "PERCENT", env = "ROADSTEAD_SAMPLE_BUDGET_PERCENT")]
    pub sample_budget_percent: Option<f64>,
    /// How long each sample is kept; at most 100000 of them.
    #[arg(long, value_name = "SECONDS", env = "ROADSTEAD_KEEP_SAMPLES_SECONDS")]
    pub keep_samples_seconds: Option<u32>,
    /// How long the least, mean and greatest of five minutes are kept.
    #[arg(long, value_name = "SECONDS", env = "ROADSTEAD_KEEP_HISTORY_SECONDS")]
    pub keep_history_seconds: Option<u32>,
    /// How large the audit log may become; then its oldest records go.
    #[arg(long, value_name = "BYTES", env = "ROADSTEAD_AUDIT_MAX_BYTES")]
    pub audit_max_bytes: Option<u64>,
    /// How long the records of the audit log are kept.
    #[arg(long, value_name = "SECONDS", env = "ROADSTEAD_KEEP_AUDIT_SECONDS")]
    pub keep_audit_seconds: Option<u32>,
    /// How long events of all nodes are kept.
    #[arg(long, value_name = "SECONDS", env = "ROADSTEAD_KEEP_EVENTS_SECONDS")]
    pub keep_events_seconds: Option<u32>,
    /// How many events of all nodes are kept at most.
    #[arg(long, value_name = "COUNT", env = "ROADSTEAD_KEEP_EVENTS_COUNT")]
    pub keep_events_count: Option<u32>,
    /// How long measurements that clients post are kept.
    #[arg(long, value_name = "SECONDS", env = "ROADSTEAD_KEEP_MEASUREMENTS_SECONDS")]
    pub keep_measurements_seconds: Option<u32>,
    /// How many measurements of each kind are kept at most.
    #[arg(long, value_name = "COUNT", env = "ROADSTEAD_KEEP_MEASUREMENTS_COUNT")]
    pub keep_measurements_count: Option<u32>,
    /// Time for the receiver of a webhook to answer.
    #[arg(long, value_name = "SECONDS", env = "ROADSTEAD_WEBHOOK_TIMEOUT_SECONDS")]
    pub webhook_timeout_seconds: Option<u32>,
    /// How long a delivery is tried again before its webhook is disabled.
    #[arg(long, value_name = "SECONDS", env = "ROADSTEAD_WEBHOOK_RETRY_SECONDS")]
    pub webhook_retry_seconds: Option<u32>,
    /// Whether webhooks may go to other machines without TLS: what happens on the nodes can be read on the way, then.
    #[arg(long, value_name = "BOOL", env = "ROADSTEAD_WEBHOOK_ALLOW_HTTP", num_args = 0..=1, default_missing_value = "true")]
    pub webhook_allow_http: Option<bool>,
    /// Largest JSON body.
    #[arg(long, value_name = "BYTES", env = "ROADSTEAD_MAX_BODY_BYTES")]
    pub max_body_bytes: Option<u64>,
    /// Largest archive.
    #[arg(long, value_name = "BYTES", env = "ROADSTEAD_MAX_ARCHIVE_BYTES")]
    pub max_archive_bytes: Option<u64>,
    /// Checks the configuration, connects to each node, prints a line for each, and exits with 0 or 1.
    #[arg(long)]
    pub check: bool,
    /// Prints the configuration in effect as TOML, without secrets, and exits.
    #[arg(long)]
    pub print_config: bool,
}

/// Options whose values may hold a password.
const SECRET: [&str; 3] = ["--dialect", "--node", "--store"];

fn parse_node(text: &str) -> std::result::Result<(String, NodeConfig), String> {
    // The text is not repeated in errors: the URI may hold a password.
    let (name, uri) = text.split_once('=').ok_or("must be NAME=URI")?;
    roadstead_core::names::node_name("node", name).map_err(|error| error.message().to_owned())?;
    Ok((name.to_owned(), NodeConfig::Uri(uri.to_owned())))
}

fn parse_alert(text: &str) -> std::result::Result<AlertConfig, String> {
    let (name, when) = text.split_once('=').ok_or("must be NAME=RULE")?;
    Ok(AlertConfig { name: name.trim().to_owned(), when: when.trim().to_owned(), nodes: Vec::new(), label: None })
}

impl Command {
    /// What the command line asks for; without a command that is `serve`.
    #[must_use]
    pub fn parse() -> Self {
        let Cli { command, serve } = Cli::try_parse().unwrap_or_else(|mut error| {
            without_secrets(&mut error);
            error.exit()
        });
        command.unwrap_or_else(|| Command::Serve(Box::new(serve)))
    }
}

/// Takes what was given out of an error about it, where that may hold a password.
fn without_secrets(error: &mut clap::Error) {
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    if SECRET.iter().any(|secret| argument.starts_with(secret)) && error.get(ContextKind::InvalidValue).is_some() {
        error.insert(ContextKind::InvalidValue, ContextValue::String("…".to_owned()));
    }
}

/// The completions of a shell.
#[must_use]
pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "roadstead", &mut script);
    script
}

impl Serve {
    /// The configuration in effect.
    ///
    /// # Errors
    /// `InvalidInput` that names the setting, or the key of the file.
    pub fn effective(&self) -> Result<Config> {
        let mut config = Config::default();
        if let Some(path) = &self.config {
            config = config.with(Layer::read(path)?);
        }
        let mut nodes = BTreeMap::new();
        for (name, node) in &self.nodes {
            if nodes.insert(name.clone(), node.clone()).is_some() {
                return Err(Error::invalid("node", format!("{name} is given twice")));
            }
        }
        // Here they are told by the flag, not by the key of the file.
        alerts::check_flags(&self.alerts)?;
        config = config.with(Layer {
            listen: (!self.listen.is_empty()).then(|| self.listen.clone()),
            state_dir: self.state_dir.clone(),
            store: self.store.clone().map(StoreConfig::new),
            key_file: self.key_file.clone(),
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
            log_format: self.log_format,
            log: self.log.clone(),
            request_timeout_seconds: self.request_timeout_seconds,
            connect_timeout_seconds: self.connect_timeout_seconds,
            archive_timeout_seconds: self.archive_timeout_seconds,
            drain_timeout_seconds: self.drain_timeout_seconds,
            keep_jobs_seconds: self.keep_jobs_seconds,
            sample_interval_seconds: self.sample_interval_seconds,
            sample_budget_percent: self.sample_budget_percent,
            keep_samples_seconds: self.keep_samples_seconds,
            keep_history_seconds: self.keep_history_seconds,
            audit_max_bytes: self.audit_max_bytes,
            keep_audit_seconds: self.keep_audit_seconds,
            keep_events_seconds: self.keep_events_seconds,
            keep_events_count: self.keep_events_count,
            keep_measurements_seconds: self.keep_measurements_seconds,
            keep_measurements_count: self.keep_measurements_count,
            webhook_timeout_seconds: self.webhook_timeout_seconds,
            webhook_retry_seconds: self.webhook_retry_seconds,
            webhook_allow_http: self.webhook_allow_http,
            max_body_bytes: self.max_body_bytes,
            max_archive_bytes: self.max_archive_bytes,
            dialects: (!self.dialects.is_empty()).then(|| self.dialects.clone()),
            alerts: (!self.alerts.is_empty()).then(|| self.alerts.clone()),
            nodes: (!nodes.is_empty()).then_some(nodes),
        });
        config.validate()?;
        Ok(config)
    }
}

/// The configuration reference as it stands in `docs/configuration.md`: every setting with its flag, variable, key and
/// default, from the definitions themselves.
#[must_use]
pub fn reference() -> String {
    let mut text = format!("{REFERENCE_HEAD}{}{REFERENCE_TAIL}", dialects::reference());
    // Both depend on the user; the text says how.
    let config = Config { state_dir: PathBuf::new(), key_file: PathBuf::new(), ..Config::default() };
    let defaults = serde_json::to_value(&config).unwrap_or_default();
    let command = Cli::command();
    let Some(serve) = command.find_subcommand("serve") else { return text };
    for argument in serve.get_arguments() {
        let id = argument.get_id().as_str();
        let Some(flag) = argument.get_long().filter(|flag| *flag != "help") else { continue };
        let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
        let value = value.and_then(|names| names.first()).map_or_else(String::new, |name| format!(" {name}"));
        text.push_str(&format!("\n## `--{flag}{value}`\n\n"));
        text.push_str(&argument.get_help().map(ToString::to_string).unwrap_or_default());
        text.push_str("\n\n");
        if let Some(variable) = argument.get_env() {
            text.push_str(&format!("* environment: `{}`\n", variable.to_string_lossy()));
        }
        let key = !matches!(id, "config" | "check" | "print_config");
        if key {
            text.push_str(&format!("* file: `{id}`\n"));
        }
        let default = match defaults.get(id) {
            _ if id == "state_dir" => {
                "`/var/lib/roadstead` for root, otherwise `$XDG_STATE_HOME/roadstead` or `~/.local/state/roadstead`, or `.roadstead` where there is no home"
                    .to_owned()
            }
            _ if id == "key_file" => {
                "`/etc/roadstead/store.key` for root, otherwise `roadstead/store.key` below `$XDG_CONFIG_HOME` or `~/.config`, or `.roadstead.key` where there is no home"
                    .to_owned()
            }
            Some(value) => format!("`{value}`"),
            None => "none".to_owned(),
        };
        if key {
            text.push_str(&format!("* default: {default}\n"));
        }
    }
    text
}

const REFERENCE_HEAD: &str = "# Configuration

Made from the definitions of the program by a test; edit those, then run the test with `ROADSTEAD_BLESS=1`.

They are the settings of `roadstead serve`, which is also what `roadstead` without a command does: `roadstead --check`
is `roadstead serve --check`. From the source tree: `cargo run --release -- --listen 127.0.0.1:7071`.

Flags win over the environment, which wins over the file, which wins over the defaults. Several values of one variable are
divided by commas (`ROADSTEAD_LISTEN`), spaces (`ROADSTEAD_NODES`, `ROADSTEAD_DIALECTS`) or semicolons (`ROADSTEAD_ALERTS`). The file is TOML; a key that is not listed here is an
error that names it. Nodes of the file are a table of names, each with a URI or with a table:

```toml
listen = [\"127.0.0.1:7070\"]
request_timeout_seconds = 30

[nodes]
trial = \"memory:\"
build = { uri = \"memory:\", certificate = \"/etc/roadstead/cert.pem\", key = \"/etc/roadstead/key.pem\", authority = \"/etc/roadstead/ca.pem\", labels = { zone = \"a\" } }
```

## Alerts

Rules that the server watches; when one begins or ends to hold, there is an event `alert_raised` or `alert_cleared` on the event
routes, with `rule` and, where one is known, `value` among its attributes: of the moment at which it was raised or cleared. A file can narrow a rule to nodes and to containers with a label:

```toml
[[alerts]]
name = \"busy\"
when = \"cpu > 90% for 30s\"
nodes = [\"build\"]
label = \"tier=web\"
```

There are `cpu > 90% for 30s` (of one core, by a container), `memory > 90% of limit for 10s`, `oom_kill`, `restarts > 3 in 60s` and
`node gone for 30s`. Times are in `s`, `m` or `h`. An `oom_kill` is cleared when there was none for a minute; its value is the
kernel's count, which is not known of a kill that only the engine tells of. What containers use is read every two seconds, or as
often as `sample_interval_seconds` says on this machine, so rules about it are late by at most that; a limit that is changed is seen
after at most sixteen times as long. A node is asked five times within the shortest time of the rules about it, but at least every
10 seconds and at most every second; it is gone from the first question without an answer on, so that the alert comes between the
rule's time and one question later. A node that is removed clears its alerts. Of servers that share a store, only the one that watches a
node raises alerts on it, by its own rules: give all of them the same. A rule may name a node that is added later: `--check`
and the log warn of names that no node has.
";

const REFERENCE_TAIL: &str = "
## Which engines are found

Without `--node` and without `[nodes]`, the engines of this machine are found as their own clients find them, by the
environment and the usual sockets; the README says which. Where nothing is found, a simulation in memory called `memory` is
served, and the server says that nothing on it is real; `--check` then fails.

Exit codes: 0 when all went well, 1 when something failed, 2 when the input was wrong.
";
