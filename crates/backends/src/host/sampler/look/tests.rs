//! Looks at machines that are directories: both versions of groups, alone and beside each other, as every engine and driver names
//! them.

use std::fs;
use std::time::Duration;

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
fn the_network_is_that_of_the_process_which_began_first() {
    let fixture = Fixture::new(Layout::Two);
    let group = format!("/docker/{ID}");
    for pid in PID..PID + 8 {
        fixture.begin(pid, &group, "");
        // The numbers began anew meanwhile.
        let stat =
            format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 10 0 0 0 20 0 1 0 {} 4096 1 0\n", PID + 10 - (pid + 5) % 8);
        fixture.write(&format!("proc/{pid}/stat"), &stat);
    }
    let begun = |sample: &ProcessSample| (sample.stat.start_ticks, sample.stat.pid);
    let mut looker = fixture.looker(100);
    for _ in 0..2 {
        let sample = looker.look().unwrap();
        let first = sample.processes.iter().map(begun).min().unwrap();
        assert_ne!(first.1, PID);
        assert_eq!(sample.groups[0].cgroup.pid, first.1);
    }
}

#[test]
fn who_uses_the_network_of_the_machine_has_its_traffic() {
    let fixture = Fixture::new(Layout::Two);
    let other = ID.replace('4', "5");
    // This very process is in the machine's network for certain; of the other nothing can be told.
    fixture.begin(std::process::id(), &format!("/docker/{ID}"), "");
    fixture.begin(PID, &format!("/docker/{other}"), "");
    let mut looker = fixture.looker(100);
    for _ in 0..2 {
        let sample = looker.look().unwrap();
        let nics = &sample.machine.nics;
        assert!(nics.iter().any(|nic| nic.name == "lo"));
        let all = traffic(nics.iter().map(|nic| (nic.received_bytes, nic.sent_bytes)));
        let told: Vec<_> = sample.groups.iter().map(|group| (group.namespace, group.stats.networks.len())).collect();
        assert_eq!(told, [(Some(all), 0), (None, 0)]);
        // Read once, of a process that is there and of one that is not.
        let once: Vec<_> = sample.groups.iter().map(|group| group.cgroup.traffic().is_some()).collect();
        assert_eq!(once, [true, false]);
    }
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

#[test]
fn of_a_container_at_rest_what_cannot_have_changed_is_not_read() {
    for layout in [Layout::One, Layout::Two] {
        let fixture = Fixture::new(layout);
        let group = format!("/docker/{ID}");
        let one = layout == Layout::One;
        let write = |file_of_one: &str, file_of_two: &str, text: &str| match one {
            true => fixture.write(&format!("{}{group}/{file_of_one}", directory_of(file_of_one)), text),
            false => fixture.write(&format!("unified{group}/{file_of_two}"), text),
        };
        let cache = |bytes: u32| {
            write("memory.stat", "memory.stat", &format!("total_cache {bytes}\nfile {bytes}\n"));
        };
        let process = |pid: u32, state: char, ticks: u32| {
            let stat = format!("{pid} (x) {state} 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 {pid} 4096 1 0\n");
            fixture.write(&format!("proc/{pid}/stat"), &stat);
        };
        let told = |sample: &Sample| {
            let stats = &sample.groups[0].stats;
            let ticks: Vec<_> = sample.processes.iter().map(|process| process.stat.user_ticks).collect();
            (stats.memory.cache_bytes, stats.block_io.as_ref().map(|io| io.read_bytes), ticks)
        };
        fixture.begin(PID, &group, "");
        fixture.begin(PID + 1, &group, "");
        cache(1);
        write("memory.usage_in_bytes", "memory.current", "4096\n");
        let mut looker = fixture.looker(100);
        // However long this test takes.
        looker.times = Times { settled: Duration::ZERO, again: Duration::from_hours(1) };
        let first = looker.look().unwrap();
        // Once more, since nothing may have run since its processes were looked at.
        for _ in 0..=FOUND_READS {
            looker.look().unwrap();
        }
        assert_eq!(told(&first), (Some(1), Some(5), vec![10, 10]));
        // Nothing of this can be when nothing ran, but for what others do.
        cache(2);
        process(PID, 'S', 20);
        write("blkio.throttle.io_service_bytes_recursive", "io.stat", "8:0 Read 7\n8:0 rbytes=7\n");
        let rests = looker.look().unwrap();
        assert_eq!(told(&rests), (Some(1), Some(7), vec![10, 10]), "{layout:?}");
        assert!(rests.groups[0].stats.observed_at > first.groups[0].stats.observed_at);
        assert_eq!(rests.groups[0].rates.map(|rates| rates.cpu_percent), Some(0.0));
        // A process that came from elsewhere, and one that left.
        fixture.begin(PID + 2, &group, "");
        cache(2);
        write("blkio.throttle.io_service_bytes_recursive", "io.stat", "8:0 Read 7\n8:0 rbytes=7\n");
        fs::remove_dir_all(fixture.proc().join((PID + 1).to_string())).unwrap();
        assert_eq!(told(&looker.look().unwrap()).2, [10, 10]);
        assert_eq!(looker.look().unwrap().processes.iter().map(|one| one.stat.pid).collect::<Vec<_>>(), [PID, PID + 2]);
        // Memory that changed is as good as time.
        write("memory.usage_in_bytes", "memory.current", "5000\n");
        assert_eq!(told(&looker.look().unwrap()), (Some(2), Some(7), vec![20, 10]));
        // What it used is told once it ran, and what is about to run is read though it did not yet.
        process(PID, 'R', 30);
        write("cpuacct.usage", "cpu.stat", if one { "4000000000\n" } else { "usage_usec 4000000\n" });
        let ran = looker.look().unwrap();
        assert_eq!(
            (told(&ran).2, ran.processes[0].cpu_percent.map(|percent| percent > 0.0)),
            (vec![30, 10], Some(true))
        );
        process(PID, 'R', 40);
        assert_eq!(told(&looker.look().unwrap()).2, [40, 10]);
        fixture.end(PID, &group);
        fixture.end(PID + 2, &group);
        let ended = looker.look().unwrap();
        assert!(ended.groups.is_empty() && ended.processes.is_empty());
    }
}

/// The hierarchy of version 1 that a file is in.
fn directory_of(file: &str) -> &'static str {
    let controller = file.split('.').next().unwrap_or_default();
    CONTROLLERS.iter().find(|controllers| controllers.split(',').any(|one| one == controller)).unwrap()
}
