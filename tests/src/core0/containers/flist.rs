//! Root file systems: here an archive of one, where a real node mounts the list of its files and fetches them when they
//! are read. The names, and what is refused in which words, are the real ones.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use super::super::go;

/// What an archive's name says of it.
fn compression(path: &str) -> Result<bool, String> {
    let base = path.rsplit('/').next().unwrap_or_default();
    let extension = base.rfind('.').map_or("", |dot| &base[dot..]);
    match extension {
        ".tgz" | ".flist" | ".gz" => Ok(true),
        ".tbz2" | ".bz2" | ".tar" => Ok(false),
        other => Err(format!("unknown flist format {other}")),
    }
}

/// Unpacks what `url` names into a directory, by way of the file `download` when it is far away.
///
/// # Errors
/// In the node's words.
pub(super) async fn unpack(url: &str, target: &Path, download: &Path) -> Result<(), String> {
    std::fs::create_dir_all(target).map_err(|error| go::errno(&error))?;
    let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
    match scheme {
        "file" | "" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if let Err(error) = std::fs::metadata(path) {
                return Err(format!("stat {path}: {}", go::errno(&error)));
            }
            extract(Path::new(path), compression(path)?, target).await
        }
        "http" | "https" => {
            let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
            if !answer.status().is_success() {
                return Err(format!("failed to download flist: {}", answer.status()));
            }
            let path = url.split(['?', '#']).next().unwrap_or_default();
            let compressed = compression(path)?;
            let bytes = answer.bytes().await.map_err(|error| error.to_string())?;
            std::fs::write(download, bytes).map_err(|error| go::errno(&error))?;
            let extracted = extract(download, compressed, target).await;
            let _ = std::fs::remove_file(download);
            extracted
        }
        _ => Err(format!("invalid flist url ({url})")),
    }
}

async fn extract(archive: &Path, compressed: bool, target: &Path) -> Result<(), String> {
    if compressed {
        let mut magic = [0; 2];
        let read = std::fs::File::open(archive).and_then(|mut file| file.read_exact(&mut magic));
        if read.is_err() || magic != [0x1f, 0x8b] {
            return Err("gzip: invalid header".to_owned());
        }
    }
    let mut tar = tokio::process::Command::new("tar");
    tar.arg("--extract").arg("--file").arg(archive).arg("--directory").arg(target).stdin(Stdio::null());
    let output = tar.output().await.map_err(|error| go::errno(&error))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}
