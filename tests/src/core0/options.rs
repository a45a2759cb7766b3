//! The command line of the stand-in.

use std::path::PathBuf;

use super::redis_link::WhenAway;

const USAGE: &str = "\
Usage: core0-stand-in --redis URL --directory DIR [OPTION...]
  --redis URL              unix:/path, or redis://host:port
  --password-file FILE     the password of that Redis
  --directory DIR          where everything is that it keeps
  --local-socket PATH      the management socket; DIR/core.sock when absent
  --subnet A.B.0.0/16      the network of containers; 172.18.0.0/16 when absent
  --bridge NAME            the bridge of that network; core0 when absent
  --forward-address IP     where ports are forwarded from; 127.0.0.1 when absent
  --max-jobs N             jobs that run at once; 524288 when absent
  --max-containers N       containers; 1000 when absent
  --log-length N           entries of a list that is subscribed to; 50000 when absent
  --when-away KIND         what becomes of results and output while Redis is away; drop when absent
    drop                   they are lost, as on a node of G3
    hold                   they are pushed when it is back
    blind                  they are lost, and so is what is pushed afterwards over connections that nobody knows to be broken";

/// What the command line says.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) redis: String,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) directory: PathBuf,
    pub(crate) local_socket: Option<PathBuf>,
    /// The first two bytes of the network of containers.
    pub(crate) subnet: [u8; 2],
    pub(crate) bridge: String,
    pub(crate) forward_address: String,
    pub(crate) max_jobs: usize,
    pub(crate) max_containers: usize,
    pub(crate) log_length: isize,
    pub(crate) when_away: WhenAway,
}

impl Options {
    /// # Errors
    /// In words for whoever typed it.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options {
            redis: String::new(),
            password_file: None,
            directory: PathBuf::new(),
            local_socket: None,
            subnet: [172, 18],
            bridge: "core0".to_owned(),
            forward_address: "127.0.0.1".to_owned(),
            max_jobs: 524_288,
            max_containers: 1000,
            log_length: 50_000,
            when_away: WhenAway::Drop,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value\n{USAGE}"))?;
            let wrong = || format!("{name}: {value}?\n{USAGE}");
            match name.as_str() {
                "--redis" => {
                    options.redis = value.replacen("unix:/", "unix:///", 1).replacen("unix://///", "unix:///", 1);
                }
                "--password-file" => options.password_file = Some(value.into()),
                "--directory" => options.directory = value.into(),
                "--local-socket" => options.local_socket = Some(value.into()),
                "--subnet" => options.subnet = subnet(&value).ok_or_else(wrong)?,
                "--bridge" => options.bridge = value,
                "--forward-address" => options.forward_address = value,
                "--max-jobs" => options.max_jobs = value.parse().map_err(|_| wrong())?,
                "--max-containers" => options.max_containers = value.parse().map_err(|_| wrong())?,
                "--log-length" => options.log_length = value.parse().map_err(|_| wrong())?,
                "--when-away" => options.when_away = WhenAway::named(&value).ok_or_else(wrong)?,
                _ => return Err(format!("no option {name}\n{USAGE}")),
            }
        }
        if options.redis.is_empty() || !options.directory.is_absolute() {
            return Err(USAGE.to_owned());
        }
        Ok(options)
    }
}

fn subnet(text: &str) -> Option<[u8; 2]> {
    let mut bytes = text.strip_suffix(".0.0/16")?.split('.');
    let subnet = [bytes.next()?.parse().ok()?, bytes.next()?.parse().ok()?];
    bytes.next().is_none().then_some(subnet)
}
