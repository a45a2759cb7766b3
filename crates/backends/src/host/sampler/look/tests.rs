//! Looks at machines that are directories: both versions of groups, alone and beside each other, as every engine and driver names
//! them.

use std::fs;

use tempfile::TempDir;

use super::*;

const ID: &str = "497e0b6d1af68ae7d31efc268d0f0ffae078f2eca38ca977c54236f559938bfc";
/// No process of this machine has such a number, so that nobody's network is read.
const PID: u32 = 1 << 30;
const CONTROLLERS: [&str; 6] = ["cpu,cpuacct", "memory", "blkio", "pids", "cpuset", "name=systemd"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    One,
    Two,
    Hybrid,
}

/// A machine in a directory.
struct Fixture {
    root: TempDir,
    layout: Layout,
}

impl Fixture {
    fn new(layout: Layout) -> Self {
        let fixture = Fixture { root: tempfile::tempdir().unwrap(), layout };
        fs::create_dir_all(fixture.proc()).unwrap();
        fixture
    }

    fn proc(&self) -> PathBuf {
        self.root.path().join("proc")
    }

    fn has(&self, version: Layout) -> bool {
        self.layout == version || self.layout == Layout::Hybrid
    }

    fn mounts(&self) -> Arc<Mounts> {
        let mut lines = Vec::new();
        let root = self.root.path().display();
        if self.has(Layout::One) {
            for (number, controllers) in CONTROLLERS.iter().enumerate() {
                let number = 30 + number;
                lines.push(format!(
                    "{number} 24 0:{number} / {root}/{controllers} rw,nosuid - cgroup cgroup rw,{controllers}"
                ));
            }
        }
        if self.has(Layout::Two) {
            lines.push(format!("60 24 0:60 / {root}/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"));
        }
        Arc::new(Mounts::of(lines.join("\n").as_bytes()))
    }

    fn looker(&self, descriptors: usize) -> Looker {
        Looker::new(&self.proc(), self.mounts(), descriptors)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Makes the group of a container, and a process in it or below it.
    fn begin(&self, pid: u32, group: &str, below: &str) {
        let mut memberships = String::new();
        if self.has(Layout::One) {
            for (number, controllers) in CONTROLLERS.iter().enumerate() {
                memberships += &format!("{}:{controllers}:{group}{below}\n", number + 1);
            }
            for (file, text) in [
                ("cpu,cpuacct", ("cpuacct.usage", "3000000000\n")),
                ("memory", ("memory.usage_in_bytes", "4096\n")),
                ("memory", ("memory.stat", "total_inactive_file 1096\n")),
                ("blkio", ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 5\n8:0 Write 6\n")),
                ("pids", ("pids.current", "1\n")),
                ("name=systemd", ("cgroup.procs", "1\n")),
            ] {
                self.write(&format!("{file}{group}/{}", text.0), text.1);
            }
        }
        // Beside version 1 the groups of version 2 may be others, without containers in their names.
        memberships += if self.layout == Layout::Hybrid { "0::/system.slice/engine.service\n" } else { "" };
        if self.layout == Layout::Two {
            memberships += &format!("0::{group}{below}\n");
            for (file, text) in [
                ("cpu.stat", "usage_usec 3000000\n"),
                ("memory.current", "4096\n"),
                ("memory.stat", "inactive_file 1096\n"),
                ("io.stat", "8:0 rbytes=5 wbytes=6\n"),
                ("pids.current", "1\n"),
            ] {
                self.write(&format!("unified{group}/{file}"), text);
            }
        }
        let stat = format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 10 0 0 0 20 0 1 0 {pid} 4096 1 0\n");
        self.write(&format!("proc/{pid}/stat"), &stat);
        self.write(&format!("proc/{pid}/cgroup"), &memberships);
    }

    fn end(&self, pid: u32, group: &str) {
        fs::remove_dir_all(self.proc().join(pid.to_string())).unwrap();
        for hierarchy in CONTROLLERS.iter().chain(&["unified"]) {
            let _ = fs::remove_dir_all(self.root.path().join(hierarchy).join(group.trim_start_matches('/')));
        }
    }

    /// How many descriptors this process has of files of the fixture.
    fn descriptors(&self) -> usize {
        let all = fs::read_dir("/proc/self/fd").unwrap().flatten();
        all.filter_map(|entry| fs::read_link(entry.path()).ok())
            .filter(|path| path.starts_with(self.root.path()))
            .count()
    }
}

fn paths(sample: &Sample) -> Vec<&str> {
    sample.groups.iter().map(|group| &*group.path).collect()
}

#[test]
fn every_layout_driver_and_engine() {
    let groups = [
        (format!("/docker/{ID}"), ""),
        (format!("/system.slice/docker-{ID}.scope"), ""),
        (format!("/system.slice/docker-{ID}.scope"), "/init.scope"),
        (format!("/libpod_parent/libpod-{ID}"), ""),
        (format!("/machine.slice/libpod-{ID}.scope"), "/container"),
        ("/lxc.payload.web".to_owned(), ""),
        ("/lxc.payload.project_web-1".to_owned(), "/system.slice/ssh.service"),
    ];
    for layout in [Layout::One, Layout::Two, Layout::Hybrid] {
        for (group, below) in &groups {
            let fixture = Fixture::new(layout);
            fixture.begin(PID, group, below);
            fixture.begin(PID + 1, "/user.slice", "");
            let sample = fixture.looker(100).look().unwrap();
            assert_eq!(paths(&sample), [group], "{layout:?}");
            let stats = &sample.groups[0].stats;
            let numbers =
                (stats.cpu.total_seconds, stats.memory.usage_bytes, stats.memory.working_set_bytes, stats.pids.current);
            assert_eq!(numbers, (3.0, 4096, Some(3000), 1), "{layout:?} {group}");
            let io = stats.block_io.as_ref().map(|io| (io.read_bytes, io.written_bytes));
            assert_eq!(io, Some((5, 6)), "{layout:?} {group}");
            let theirs: Vec<_> = sample.processes.iter().map(|process| process.is_in(group)).collect();
            assert_eq!(theirs, [true, false]);
        }
    }
}

#[test]
fn rates_follow_from_the_look_before() {
    let fixture = Fixture::new(Layout::Two);
    let group = format!("/docker/{ID}");
    fixture.begin(PID, &group, "");
    let mut looker = fixture.looker(100);
    let first = looker.look().unwrap();
    assert!(first.groups[0].rates.is_none() && first.processes[0].cpu_percent.is_none());
    fixture.write(&format!("unified{group}/cpu.stat"), "usage_usec 4000000\n");
    let second = looker.look().unwrap();
    let rates = second.groups[0].rates.unwrap();
    let used = rates.cpu_percent / 100.0 * rates.interval_seconds;
    assert!((used - 1.0).abs() < 1e-6, "{rates:?}");
}

#[test]
fn a_group_that_is_seen_while_it_is_made_is_read_whole_later() {
    let fixture = Fixture::new(Layout::Hybrid);
    let group = format!("/docker/{ID}");
    fixture.begin(PID, &group, "");
    // The engine has put the process into one hierarchy, and not yet into the others.
    fixture.write(&format!("proc/{PID}/cgroup"), &format!("2:memory:/\n0::{group}\n"));
    fixture.write(&format!("unified{group}/cpu.stat"), "usage_usec 3000000\n");
    let mut looker = fixture.looker(100);
    let first = looker.look().unwrap();
    assert_eq!((first.groups[0].stats.cpu.total_seconds, first.groups[0].stats.memory.usage_bytes), (3.0, 0));
    fixture.begin(PID, &group, "");
    let second = looker.look().unwrap();
    assert_eq!((second.groups[0].stats.memory.usage_bytes, second.groups[0].stats.pids.current), (4096, 1));
    assert_eq!(looker.kept, fixture.descriptors() - looker.table.processes().count());
}

#[test]
fn what_comes_and_goes_leaves_nothing() {
    for (layout, most) in [(Layout::One, 1000), (Layout::Two, 1000), (Layout::Two, 30)] {
        let fixture = Fixture::new(layout);
        let mut looker = fixture.looker(most);
        let name = |number: u32| format!("/docker/{number:064x}");
        for round in 0..20 {
            for number in 0..10 {
                fixture.begin(PID + round * 10 + number, &name(round * 10 + number), "");
            }
            let sample = looker.look().unwrap();
            let expected: Vec<_> = (0..10).map(|number| name(round * 10 + number)).collect();
            assert_eq!(paths(&sample), expected);
            assert!(fixture.descriptors() <= most, "{} of {most}", fixture.descriptors());
            for number in 0..10 {
                fixture.end(PID + round * 10 + number, &name(round * 10 + number));
            }
        }
        let sample = looker.look().unwrap();
        assert!(sample.groups.is_empty() && sample.processes.is_empty());
        assert!(looker.groups.is_empty() && looker.paths.is_empty());
        assert_eq!((fixture.descriptors(), looker.kept), (0, 0));
    }
}

#[test]
fn a_container_that_is_made_anew_under_its_name() {
    let fixture = Fixture::new(Layout::Two);
    let group = "/lxc.payload.web";
    let mut looker = fixture.looker(100);
    fixture.begin(PID, group, "");
    let first = looker.look().unwrap();
    assert_eq!(first.groups.len(), 1);
    let is_same = |sample: &Sample| sample.groups[0].origin.unwrap().is(first.groups[0].origin.unwrap());
    assert!(is_same(&looker.look().unwrap()) == Some(true) && !first.groups[0].is_gone());
    // What stays of it keeps its number from being given to the next one: the kernel gives none twice.
    let unified = fixture.root.path().join("unified");
    fs::rename(unified.join("lxc.payload.web"), unified.join("before")).unwrap();
    fixture.begin(PID, group, "");
    assert!(first.groups[0].is_gone(), "another one has its path");
    fixture.end(PID, group);
    assert!(looker.look().unwrap().groups.is_empty());
    fixture.begin(PID + 5, group, "");
    let again = looker.look().unwrap();
    assert_eq!((again.groups.len(), again.groups[0].cgroup.pid), (1, PID + 5));
    assert_eq!(is_same(&again), Some(false));
    assert!(again.groups[0].rates.is_none());
}
