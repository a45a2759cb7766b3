//! Makes control groups as an engine would name them, and takes them away again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The directory that all groups of a run are below.
const PARENT: &str = "roadstead-bench";

/// Groups with a sleeping process each. They end with it.
#[derive(Debug)]
pub struct Groups {
    directories: Vec<PathBuf>,
    children: Vec<Child>,
    /// The groups of each container, over all hierarchies.
    pub containers: Vec<Vec<PathBuf>>,
}

impl Groups {
    /// So many containers.
    ///
    /// # Errors
    /// When the groups cannot be made, which takes root.
    pub fn make(count: usize) -> io::Result<Self> {
        let mut groups = Groups { directories: Vec::new(), children: Vec::new(), containers: Vec::new() };
        let hierarchies = hierarchies()?;
        for hierarchy in &hierarchies {
            groups.directory(hierarchy.join(PARENT))?;
        }
        for number in 0..count {
            let id = format!("{:064x}", 0xbe0c_0000_usize + number);
            let child = Command::new("sleep").arg("3600").stdin(Stdio::null()).spawn()?;
            let pid = child.id();
            groups.children.push(child);
            let mut own = Vec::new();
            for hierarchy in &hierarchies {
                let directory = hierarchy.join(PARENT).join(&id);
                groups.directory(directory.clone())?;
                fs::write(directory.join("cgroup.procs"), pid.to_string())?;
                own.push(directory);
            }
            groups.containers.push(own);
        }
        Ok(groups)
    }

    fn directory(&mut self, path: PathBuf) -> io::Result<()> {
        fs::create_dir_all(&path)?;
        self.directories.push(path);
        Ok(())
    }

    /// The processes.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.children.iter().map(Child::id)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for child in &mut self.children {
            // What fails here leaves a sleeping process that ends within the hour.
            let _ = child.kill();
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
        while let Some(directory) = self.directories.pop() {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Where hierarchies of control groups are mounted, each once.
fn hierarchies() -> io::Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mut found: Vec<PathBuf> = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (fields.next(), fields.next()) else { continue };
        // A group of the hierarchy for processors by number cannot take a process before it was told which.
        let is_set = Path::new(point).join("cpuset.cpus").exists() && kind == "cgroup";
        if matches!(kind, "cgroup" | "cgroup2") && !is_set {
            found.push(PathBuf::from(point));
        }
    }
    Ok(found)
}
