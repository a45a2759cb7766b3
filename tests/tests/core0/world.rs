//! A node of a test's own: a Redis, and the stand-in in namespaces like the captured node's, with its links, its programs and
//! an empty `/tmp`, so that what was pushed there can be pushed here as it stands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use roadstead_tests::left_out;
use tempfile::TempDir;

/// Programs which the captured node did not have.
const ABSENT: [&str; 4] = ["btrfs", "dmidecode", "restic", "zflist"];
/// Programs which it had scripts in place of, which did nothing.
const DUMMIES: [&str; 2] = ["parted", "zerotier-cli"];
/// The root of the captured containers.
const ROOT: [&str; 8] = ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "var"];

/// A Redis with a stand-in.
pub(crate) struct World {
    pub(crate) directory: TempDir,
    /// By the names of their logs.
    children: Vec<(String, Child)>,
}

/// The built program.
pub(crate) fn stand_in() -> PathBuf {
    option_env!("CARGO_BIN_EXE_core0-stand-in").map_or_else(|| PathBuf::from("core0-stand-in"), PathBuf::from)
}

/// Whether what a world is made of is here; else the test says that it is left out.
pub(crate) fn possible(test: &str) -> bool {
    let missing = ["redis-server", "unshare", "ip", "openssl", "busybox"].into_iter().find(|program| {
        !Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .output()
            .is_ok_and(|found| found.status.success())
    });
    let root = nix::unistd::geteuid().is_root();
    match missing {
        Some(program) => left_out::left_out(&format!("{test}: {program} is missing")),
        None if !root => left_out::left_out(&format!("{test}: must be root")),
        None => return true,
    }
    false
}

fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !happened() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl World {
    pub(crate) fn new() -> Self {
        World::with(&[])
    }

    /// With further options for the stand-in.
    pub(crate) fn with(options: &[&str]) -> Self {
        // Not below /tmp, which the stand-in sees another one of.
        let directory = tempfile::Builder::new().prefix("core0-").tempdir_in("/var/tmp").expect("a directory");
        let mut world = World { directory, children: Vec::new() };
        world.start_redis();
        world.make_programs();
        world.make_flist();
        world.start_stand_in(options);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn connect(&self) -> redis::Connection {
        let url = format!("unix://{}", self.path("redis.sock").display());
        redis::Client::open(url).unwrap().get_connection().unwrap()
    }

    pub(crate) fn spawn(&mut self, log: &str, command: &mut Command) {
        let file = fs::File::create(self.path(log)).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        self.children.push((log.to_owned(), command.spawn().unwrap()));
    }

    /// Kills the process whose log that is.
    pub(crate) fn kill(&mut self, log: &str) {
        let at = self.children.iter().position(|(name, _)| name == log).unwrap();
        let (_, mut child) = self.children.remove(at);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn start_redis(&mut self) {
        let socket = self.path("redis.sock");
        let mut redis = Command::new("redis-server");
        redis.args(["--port", "0", "--unixsocket"]).arg(&socket).arg("--dir").arg(self.directory.path());
        self.spawn("redis.log", &mut redis);
        let url = format!("unix://{}", socket.display());
        until("redis-server", || {
            let connection = redis::Client::open(url.as_str()).and_then(|client| client.get_connection());
            // It may still be reading its lists.
            connection.is_ok_and(|mut connection| redis::cmd("PING").query::<String>(&mut connection).is_ok())
        });
    }

    fn make_programs(&self) {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir(self.path("bin")).unwrap();
        for name in DUMMIES {
            let program = self.path("bin").join(name);
            fs::write(&program, "#!/bin/sh\necho \"${0##*/}: not available in this sandbox\" >&2\nexit 127\n").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir(self.path("over")).unwrap();
    }

    fn make_flist(&self) {
        let root = self.path("root");
        for directory in ROOT {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
        let script = "cp \"$(command -v busybox)\" bin/busybox && for applet in $(bin/busybox --list); do \
                      [ $applet = busybox ] || ln -s busybox bin/$applet; done && tar -czf ../busybox.flist .";
        let made = Command::new("sh").args(["-c", script]).current_dir(&root).status().unwrap();
        assert!(made.success());
    }

    fn start_stand_in(&mut self, options: &[&str]) {
        let directory = self.directory.path().display().to_string();
        let mut script = String::from(
            "set -e\nmount -t tmpfs tmpfs /tmp\nmount -t tmpfs tmpfs /opt\nmkdir /opt/flist\n\
             cp \"$DIR/busybox.flist\" /opt/flist\nip link set lo up\n\
             ip link add eth0 type veth peer name ethp0\nip link set eth0 up\nip link set ethp0 up\n\
             ip address add 10.11.12.13/24 dev eth0\nip link add kvm0 type bridge\n\
             ip address add 172.19.0.1/16 dev kvm0\nip link set kvm0 up\n",
        );
        script.push_str("mount -t tmpfs tmpfs \"$DIR/over\"\n");
        for (number, place) in ["/usr/bin", "/usr/sbin"].iter().enumerate() {
            script.push_str(&format!(
                "mkdir \"$DIR/over/upper{number}\" \"$DIR/over/work{number}\"\n\
                 mount -t overlay -o lowerdir={place},upperdir=$DIR/over/upper{number},workdir=$DIR/over/work{number} \
                 overlay {place}\nrm -f {}\n",
                ABSENT.map(|program| format!("{place}/{program}")).join(" ")
            ));
        }
        script.push_str(
            "exec \"$STAND_IN\" --redis \"unix:$DIR/redis.sock\" --directory \"$DIR/node\" --log-length 1000 \"$@\"\n",
        );
        let path = std::env::var("PATH").unwrap_or_default();
        // The repository may be below /tmp, too.
        let program = self.path("stand-in");
        if !program.exists() {
            let linked = fs::hard_link(stand_in(), &program);
            linked.or_else(|_| fs::copy(stand_in(), &program).map(drop)).expect("the stand-in is reached from there");
        }
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"]).args(options);
        command.env("DIR", &directory).env("STAND_IN", program).env("PATH", format!("{directory}/bin:{path}"));
        self.spawn("core0.log", &mut command);
        let log = self.path("core0.log");
        until("the stand-in", || fs::read_to_string(&log).is_ok_and(|log| log.contains("takes commands")));
    }

    /// Starts a proxy with TLS before the Redis; its address.
    pub(crate) fn start_proxy(&mut self, options: &[&str]) -> String {
        self.make_certificate();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut proxy = Command::new(stand_in());
        proxy.args(["--proxy", &address, "--redis"]).arg(format!("unix:{}", self.path("redis.sock").display()));
        proxy.arg("--certificate").arg(self.path("server.crt")).arg("--key").arg(self.path("server.key")).args(options);
        self.spawn(&format!("proxy-{port}.log"), &mut proxy);
        until("the proxy", || std::net::TcpStream::connect(&address).is_ok());
        address
    }

    fn make_certificate(&self) {
        if self.path("server.crt").exists() {
            return;
        }
        openssl(
            self.directory.path(),
            "req -x509 -newkey rsa:2048 -nodes -days 36500 -subj /CN=core0 -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1 \
             -keyout server.key -out server.crt",
        );
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("core0.log")).unwrap_or_default()
    }
}

pub(crate) fn openssl(directory: &Path, line: &str) {
    let made = Command::new("openssl").args(line.split_whitespace()).current_dir(directory).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

impl Drop for World {
    fn drop(&mut self) {
        // The stand-in before its Redis.
        for (_, child) in self.children.iter_mut().rev() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let deadline = Instant::now() + Duration::from_secs(15);
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
