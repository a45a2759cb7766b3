//! `cgroup.*`: groups of the subsystems memory, cpuset and devices in this machine's cgroup file system. The node has version
//! 1, with a tree for each subsystem. Where version 2 is mounted, a group of our own stands for each of these trees.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::arguments::{Arguments, INT, Kind, Shape};
use super::{Failure, errors};

const GROUP: Shape =
    Shape { go: "cgroups.GroupArg", fields: &[("subsystem", Kind::Named("cgroups.Subsystem")), ("name", Kind::Text)] };
const TASK: Shape = Shape {
    go: r#"struct { cgroups.GroupArg; PID int "json:\"pid\"" }"#,
    fields: &[("subsystem", Kind::Named("cgroups.Subsystem")), ("name", Kind::Text), ("pid", INT)],
};
const CPUSET: Shape = Shape {
    go: r#"struct { Name string "json:\"name,omitempty\""; Cpus string "json:\"cpus\""; Mems string "json:\"mems\"" }"#,
    fields: &[("name", Kind::Text), ("cpus", Kind::Text), ("mems", Kind::Text)],
};
const MEMORY: Shape = Shape {
    go: r#"struct { Name string "json:\"name,omitempty\""; Mem int "json:\"mem\""; Sawp int "json:\"swap\"" }"#,
    fields: &[("name", Kind::Text), ("mem", INT), ("swap", INT)],
};
const BASE: &str = "/sys/fs/cgroup";
const SUBSYSTEMS: [&str; 3] = ["memory", "cpuset", "devices"];
/// What version 1 tells where there is no limit: the highest number of whole pages.
const UNLIMITED: i64 = i64::MAX / 4096 * 4096;

/// The commands of this group; `None` for any other name.
pub(super) fn call(command: &str, arguments: &Value) -> Option<Result<Value, Failure>> {
    let done = |result: Result<(), Failure>| result.map(|()| Value::Null);
    let existing = |shape: &'static Shape| {
        let arguments = shape.decode(arguments, 400)?;
        Ok((Group::existing(arguments.text("subsystem"), arguments.text("name"))?, arguments))
    };
    Some(match command {
        "cgroup.list" => list(),
        "cgroup.ensure" => done(GROUP.decode(arguments, 400).and_then(|arguments| ensure(&arguments))),
        "cgroup.remove" => done(GROUP.decode(arguments, 400).and_then(|arguments| remove(&arguments))),
        "cgroup.reset" => done(existing(&GROUP).map(|(group, _)| group.reset())),
        "cgroup.tasks" => existing(&GROUP).and_then(|(group, _)| group.tasks()).map(|tasks| json!(tasks)),
        "cgroup.task-add" => done(
            existing(&TASK)
                .and_then(|(group, arguments)| group.write("cgroup.procs", &arguments.whole("pid").to_string())),
        ),
        "cgroup.task-remove" => done(
            existing(&TASK)
                .and_then(|(group, arguments)| group.root().write("cgroup.procs", &arguments.whole("pid").to_string())),
        ),
        "cgroup.cpuset.spec" => CPUSET.decode(arguments, 400).and_then(|arguments| {
            let group = Group::existing("cpuset", arguments.text("name"))?;
            for (member, file) in [("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")] {
                if !arguments.text(member).is_empty() {
                    group.write(file, arguments.text(member))?;
                }
            }
            let read = |file| group.read(file).unwrap_or_default();
            Ok(json!({"cpus": read("cpuset.cpus"), "mems": read("cpuset.mems")}))
        }),
        "cgroup.memory.spec" => MEMORY.decode(arguments, 400).and_then(|arguments| {
            let group = Group::existing("memory", arguments.text("name"))?;
            if arguments.whole("mem") != 0 {
                group.limit(arguments.whole("mem"), arguments.whole("swap"))?;
            }
            // One that cannot be read is told as zero.
            let (memory, both) = group.limits().unwrap_or_default();
            Ok(json!({"mem": memory, "swap": both - memory}))
        }),
        _ => return None,
    })
}

/// One group, or with an empty name the root of a subsystem.
struct Group {
    subsystem: &'static str,
    path: PathBuf,
}

/// Whether the machine has version 2 only.
fn unified() -> bool {
    Path::new(BASE).join("cgroup.controllers").exists()
}

fn tree(subsystem: &str) -> PathBuf {
    Path::new(BASE).join(if unified() { format!("core0-{subsystem}") } else { subsystem.to_owned() })
}

impl Group {
    fn of(subsystem: &str, name: &str) -> Result<Self, Failure> {
        let known = SUBSYSTEMS.into_iter().find(|known| *known == subsystem);
        let subsystem = known.ok_or_else(|| Failure::new(500, format!("unknown subsystem '{subsystem}'")))?;
        // The node takes any path; on a machine that is not all its own a group stays within its tree.
        if name.split('/').any(|part| part == "..") {
            return Err(errors::at("mkdir", name)(io::Error::from_raw_os_error(1)));
        }
        Ok(Self { subsystem, path: tree(subsystem).join(name.trim_start_matches('/')) })
    }

    fn existing(subsystem: &str, name: &str) -> Result<Self, Failure> {
        let group = Self::of(subsystem, name).ok().filter(|group| group.path.is_dir());
        group.ok_or_else(|| Failure::new(404, "cgroup does not exist"))
    }

    fn root(&self) -> Self {
        let path = if unified() { PathBuf::from(BASE) } else { tree(self.subsystem) };
        Self { subsystem: self.subsystem, path }
    }

    fn write(&self, file: &str, text: &str) -> Result<(), Failure> {
        let path = self.path.join(file);
        fs::write(&path, text).map_err(errors::at("write", &path))
    }

    fn read(&self, file: &str) -> Result<String, Failure> {
        errors::read(self.path.join(file)).map(|text| text.trim().to_owned())
    }

    fn tasks(&self) -> Result<Vec<i64>, Failure> {
        Ok(self.read("cgroup.procs")?.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Back to what a group has that nobody limited; what cannot be set is left.
    fn reset(&self) {
        let files: &[(&str, String)] = &match (self.subsystem, unified()) {
            ("memory", false) => {
                [("memory.memsw.limit_in_bytes", "-1".to_owned()), ("memory.limit_in_bytes", "-1".to_owned())]
            }
            ("memory", true) => [("memory.swap.max", "max".to_owned()), ("memory.max", "max".to_owned())],
            ("cpuset", _) => {
                ["cpuset.cpus", "cpuset.mems"].map(|file| (file, self.root().read(file).unwrap_or_default()))
            }
            _ => return,
        };
        for (file, text) in files {
            let _ = self.write(file, text);
        }
    }

    /// Memory, and memory with swap, in bytes.
    fn limits(&self) -> Result<(i64, i64), Failure> {
        let limit = |file: &str| {
            let text = self.read(file)?;
            if text == "max" {
                return Ok(UNLIMITED);
            }
            text.parse::<i64>().map_err(|_| Failure::new(500, "expected integer"))
        };
        if unified() {
            let memory = limit("memory.max")?;
            return Ok((memory, memory.saturating_add(limit("memory.swap.max")?).min(UNLIMITED)));
        }
        Ok((limit("memory.limit_in_bytes")?, limit("memory.memsw.limit_in_bytes")?))
    }

    fn limit(&self, memory: i64, swap: i64) -> Result<(), Failure> {
        let (_, both) = self.limits()?;
        let (memory_file, swap_file, with_swap) = if unified() {
            ("memory.max", "memory.swap.max", swap)
        } else {
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", memory + swap)
        };
        let mut writes = [(memory_file, memory), (swap_file, with_swap)];
        // Memory with swap is at no moment less than memory.
        if both < memory {
            writes.reverse();
        }
        for (file, value) in writes {
            // The node passes over what the kernel refuses; the answer tells what holds.
            let _ = self.write(file, &value.to_string());
        }
        Ok(())
    }
}

fn list() -> Result<Value, Failure> {
    let mut groups = Map::new();
    // Devices are for the node's own containers, and not listed.
    for subsystem in ["memory", "cpuset"] {
        let tree = tree(subsystem);
        let entries = match fs::read_dir(&tree) {
            Err(_) if unified() => continue,
            entries => entries.map_err(errors::at("open", &tree))?,
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        if !names.is_empty() {
            groups.insert(subsystem.to_owned(), names.into());
        }
    }
    Ok(groups.into())
}

fn ensure(arguments: &Arguments) -> Result<(), Failure> {
    let group = Group::of(arguments.text("subsystem"), arguments.text("name"))?;
    if unified() {
        let tree = tree(group.subsystem);
        fs::create_dir_all(&tree).map_err(errors::at("mkdir", &tree))?;
        // Devices are no controller there, and one that is missing shows when a limit is set.
        for parent in [Path::new(BASE), &tree] {
            let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{}", group.subsystem));
        }
    }
    match fs::create_dir(&group.path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(errors::at("mkdir", &group.path)(error)),
        _ => Ok(()),
    }
}

fn remove(arguments: &Arguments) -> Result<(), Failure> {
    let Ok(group) = Group::existing(arguments.text("subsystem"), arguments.text("name")) else { return Ok(()) };
    // The root is refused by the kernel, and nothing is to be moved before it is.
    if group.path != tree(group.subsystem) {
        for task in group.tasks()? {
            let _ = group.root().write("cgroup.procs", &task.to_string());
        }
    }
    fs::remove_dir(&group.path).map_err(errors::at("remove", &group.path))
}
