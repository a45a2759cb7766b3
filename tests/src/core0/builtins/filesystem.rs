//! `filesystem.*`: files and directories of the node, or of the container in which this process is number 1.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use serde_json::{Value, json};

use super::arguments::{FILE_MODE, Kind, Shape, UINT32};
use super::files::Files;
use super::{Failure, errors};

const OPEN: Shape =
    Shape { go: "builtin.FSOpenArgs", fields: &[("file", Kind::Text), ("mode", Kind::Text), ("perm", UINT32)] };
const DESCRIPTOR: Shape = Shape { go: "builtin.FSFileDescriptorArgs", fields: &[("fd", Kind::Text)] };
const WRITE: Shape = Shape { go: "builtin.FSWriteArgs", fields: &[("fd", Kind::Text), ("block", Kind::Text)] };
const PATH: Shape = Shape { go: "builtin.FSPathArgs", fields: &[("path", Kind::Text)] };
const CHMOD: Shape = Shape {
    go: "builtin.FSChmodArgs",
    fields: &[("path", Kind::Text), ("mode", FILE_MODE), ("recursive", Kind::Flag)],
};
const CHOWN: Shape = Shape {
    go: "builtin.FSChownArgs",
    fields: &[("path", Kind::Text), ("user", Kind::Text), ("group", Kind::Text), ("recursive", Kind::Flag)],
};
const MOVE: Shape = Shape { go: "builtin.FSMoveArgs", fields: &[("path", Kind::Text), ("destination", Kind::Text)] };

/// The commands of this group; `None` for any other name.
pub(super) fn call(files: &Files, command: &str, arguments: &Value) -> Option<Result<Value, Failure>> {
    Some(match command {
        "filesystem.open" => OPEN.decode(arguments, 500).and_then(|arguments| {
            let permissions = u32::try_from(arguments.whole("perm")).unwrap_or(0) & 0o777;
            files.open(arguments.text("file"), arguments.text("mode"), permissions).map(Value::from)
        }),
        "filesystem.read" => {
            DESCRIPTOR.decode(arguments, 500).and_then(|arguments| files.read(arguments.text("fd")).map(Value::from))
        }
        "filesystem.write" => WRITE
            .decode(arguments, 500)
            .and_then(|arguments| files.write(arguments.text("fd"), arguments.text("block")).map(|()| Value::Null)),
        "filesystem.close" => DESCRIPTOR.decode(arguments, 500).map(|arguments| {
            files.close(arguments.text("fd"));
            Value::Null
        }),
        "filesystem.mkdir" => PATH
            .decode(arguments, 500)
            .and_then(|arguments| make(Path::new(arguments.text("path"))))
            .map(|()| Value::Null),
        "filesystem.remove" => PATH.decode(arguments, 500).and_then(|arguments| remove(arguments.text("path"))),
        "filesystem.exists" => PATH.decode(arguments, 500).map(|arguments| {
            let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
            Value::Bool(!fs::metadata(arguments.text("path")).is_err_and(|error| missing(&error)))
        }),
        "filesystem.list" => PATH.decode(arguments, 500).and_then(|arguments| list(arguments.text("path"))),
        "filesystem.chmod" => CHMOD.decode(arguments, 500).and_then(|arguments| {
            let mode = u32::try_from(arguments.whole("mode")).unwrap_or(0) & 0o777;
            let change = |path: &Path| fs::set_permissions(path, Permissions::from_mode(mode));
            apply("chmod", arguments.text("path"), arguments.flag("recursive"), &change)
        }),
        "filesystem.chown" => CHOWN.decode(arguments, 500).and_then(|arguments| {
            let user = number_of("user", "/etc/passwd", arguments.text("user"))?;
            let group = number_of("group", "/etc/group", arguments.text("group"))?;
            let change = |path: &Path| chown(path, Some(user), Some(group));
            apply("chown", arguments.text("path"), arguments.flag("recursive"), &change)
        }),
        "filesystem.move" => MOVE
            .decode(arguments, 500)
            .and_then(|arguments| rename(arguments.text("path"), arguments.text("destination"))),
        _ => return None,
    })
}

/// `mkdir -p` with mode 0755; the error names the directory that could not be made.
pub(super) fn make(path: &Path) -> Result<(), Failure> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(errors::at("mkdir", path)(io::Error::from_raw_os_error(20))),
        Err(_) => {}
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make(parent)?;
    }
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if !path.is_dir() => Err(errors::at("mkdir", path)(error)),
        _ => Ok(()),
    }
}

fn remove(path: &str) -> Result<Value, Failure> {
    if path == "." || path.ends_with("/.") {
        return Err(errors::at("RemoveAll", path)(io::Error::from_raw_os_error(22)));
    }
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(errors::at("unlinkat", path)(error)),
        _ => Ok(Value::Null),
    }
}

fn list(path: &str) -> Result<Value, Failure> {
    let found = fs::metadata(path).map_err(errors::at("open", path))?;
    if !found.is_dir() {
        return Err(errors::at("readdirent", path)(io::Error::from_raw_os_error(20)));
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(errors::at("open", path))? {
        let entry = entry.map_err(errors::at("readdirent", path))?;
        // What vanishes between the two calls is not there.
        let Ok(found) = entry.metadata() else { continue };
        entries.push((entry.file_name().to_string_lossy().into_owned(), found));
    }
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    let entry = |(name, found): (String, fs::Metadata)| json!({"name": name, "size": found.len(), "mode": found.mode() & 0o777, "is_dir": found.is_dir()});
    Ok(entries.into_iter().map(entry).collect())
}

/// Changes a file, or all beneath a directory; what cannot be changed on such a walk is passed over.
fn apply(call: &str, path: &str, all: bool, change: &dyn Fn(&Path) -> io::Result<()>) -> Result<Value, Failure> {
    if all {
        walk(Path::new(path), change);
    } else {
        change(Path::new(path)).map_err(errors::at(call, path))?;
    }
    Ok(Value::Null)
}

fn walk(path: &Path, change: &dyn Fn(&Path) -> io::Result<()>) {
    let Ok(found) = fs::symlink_metadata(path) else { return };
    // Passed over as the node passes over it: the walk has no way to tell of it.
    let _ = change(path);
    if found.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            walk(&entry.path(), change);
        }
    }
}

/// The number of a user or group by its name, from the file of this root.
fn number_of(what: &str, file: &str, name: &str) -> Result<u32, Failure> {
    let text = errors::read(file)?;
    let number = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    };
    text.lines().find_map(number).ok_or_else(|| Failure::new(500, format!("{what}: unknown {what} {name}")))
}

fn rename(path: &str, destination: &str) -> Result<Value, Failure> {
    let failed = |error: io::Error| Failure::new(500, format!("rename {path} {destination}: {}", errors::text(&error)));
    // Go refuses to replace a directory, which the system would do with an empty one.
    if fs::symlink_metadata(destination).is_ok_and(|found| found.is_dir()) {
        fs::symlink_metadata(path).map_err(failed)?;
        return Err(failed(io::Error::from_raw_os_error(17)));
    }
    fs::rename(path, destination).map_err(failed)?;
    Ok(Value::Null)
}
