//! What the tests ask LXD and Incus themselves, past the program under test: over their sockets, and by their own clients.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::engines::{TestEngine, image};
use crate::raw::Request;

/// How long it is tried to delete an instance.
const CLEANING: Duration = Duration::from_secs(15);
/// How often a client is told what others disturbed.
const ATTEMPTS: usize = 5;

/// The lists of one daemon from which tests delete what is theirs, with the member that bears the name.
const LISTS: [(&str, &str); 6] = [
    ("/1.0/images/aliases?recursion=1", "/1.0/images/aliases"),
    ("/1.0/profiles?recursion=1", "/1.0/profiles"),
    ("/1.0/storage-pools/default/volumes/custom?recursion=1", "/1.0/storage-pools/default/volumes/custom"),
    ("/1.0/networks?recursion=1", "/1.0/networks"),
    ("/1.0/storage-pools?recursion=1", "/1.0/storage-pools"),
    ("/1.0/projects?recursion=1", "/1.0/projects"),
];

impl TestEngine {
    /// Its URI over TLS.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn tls_uri(&self) -> String {
        let address = self.get("/1.0")["metadata"]["config"]["core.https_address"].clone();
        format!("{}+https://{}", self.kind(), address.as_str().expect("it listens to TLS"))
    }

    /// The configuration directory of its clients: `client.crt` and `client.key`, which it and all its kind trust,
    /// its own `server.crt`, and what the product's own client keeps.
    #[must_use]
    pub fn client_directory(&self) -> PathBuf {
        self.socket().with_file_name("client")
    }

    /// The product's own client, `lxc` or `incus`, with these arguments and without input.
    #[must_use]
    pub fn client_command(&self, arguments: &[&str]) -> Command {
        let (program, variable) = if self.kind() == "lxd" { ("lxc", "LXD") } else { ("incus", "INCUS") };
        let mut command = Command::new(program);
        for rest in ["SOCKET", "REMOTE", "PROJECT"] {
            command.env_remove(format!("{variable}_{rest}"));
        }
        command
            .env(format!("{variable}_DIR"), self.socket().parent().expect("the socket lies in a directory"))
            .env(format!("{variable}_CONF"), self.client_directory())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// What the product's own client says to these arguments.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn client(&self, arguments: &[&str]) -> Output {
        let mut command = self.client_command(arguments);
        command.output().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()))
    }

    /// What the product's own client prints to these arguments. Incus looks at every interface of the machine when it makes or
    /// deletes a network, and gives up when one went away meanwhile, which those of other tests do: then it is told again.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn client_text(&self, arguments: &[&str]) -> String {
        let disturbed = |output: &Output| {
            let words = String::from_utf8_lossy(&output.stderr);
            !output.status.success() && words.contains("link show") && words.contains("does not exist")
        };
        let mut output = self.client(arguments);
        for _ in 1..ATTEMPTS {
            if disturbed(&output) {
                output = self.client(arguments);
            }
        }
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Begins an operation, waits for its end and gives it as it is then.
    ///
    /// # Panics
    /// When it does not succeed.
    pub fn operate(&self, method: &str, target: &str, body: Option<&Value>) -> Value {
        let begun = self.ask(method, target, body).expect(202).json();
        let operation = begun["operation"].as_str().expect("an operation");
        let ended = self.get(&format!("{operation}/wait?timeout=60"))["metadata"].clone();
        assert_eq!(ended["status_code"], 200, "{method} {target}: {ended}");
        ended
    }

    /// Creates an instance from the test image, with the image's own main process unless there is a command.
    pub(crate) fn create_instance(&self, name: &str, command: Option<&[&str]>) -> String {
        let mut config = json!({});
        if let Some(command) = command {
            // LXC splits at spaces and knows no quotes, so that a shell has to read the words: tabs are no spaces.
            config["raw.lxc"] = json!("lxc.init.cmd = /bin/sh -c eval\t\"exec\t$ROADSTEAD_TEST_COMMAND\"");
            config["environment.ROADSTEAD_TEST_COMMAND"] = json!(shell_words(command));
        }
        let body = json!({"name": name, "source": {"type": "image", "alias": image()}, "config": config});
        self.operate("POST", "/1.0/instances", Some(&body));
        name.to_owned()
    }

    /// Creates and starts an instance that runs until it is told to end.
    pub(crate) fn run_instance(&self, name: &str) -> String {
        let id = self.create_instance(name, None);
        self.operate("PUT", &format!("/1.0/instances/{id}/state"), Some(&json!({"action": "start"})));
        id
    }

    /// See [`TestEngine::snapshot`].
    pub(crate) fn snapshot_lxd(&self) -> Value {
        let pick = |target: &str, members: &[&str]| -> Vec<String> {
            let list = self.get(target)["metadata"].clone();
            let line = |item: &Value| -> String {
                let parts: Vec<String> = members.iter().map(|member| item[*member].to_string()).collect();
                parts.join(" ")
            };
            let mut lines: Vec<String> = list.as_array().into_iter().flatten().map(line).collect();
            lines.sort();
            lines
        };
        json!({
            "containers": pick("/1.0/instances?recursion=1", &["name", "status", "config", "devices", "profiles"]),
            "images": pick("/1.0/images?recursion=1", &["fingerprint", "aliases"]),
            "networks": pick("/1.0/networks?recursion=1", &["name", "managed", "config"]),
            "profiles": pick("/1.0/profiles?recursion=1", &["name", "config", "devices"]),
            "volumes": pick("/1.0/storage-pools/default/volumes/custom?recursion=1", &["name", "config"]),
            "pools": pick("/1.0/storage-pools?recursion=1", &["name", "config"]),
        })
    }

    /// Deletes whatever bears the prefix of this handle.
    pub(crate) fn clean_lxd(&self) {
        for name in self.own_names("/1.0/instances?recursion=1") {
            self.end(&name);
        }
        for fingerprint in self.own_images() {
            self.attempt(&Request::new("DELETE", format!("/1.0/images/{fingerprint}")));
        }
        for (list, target) in LISTS {
            for name in self.own_names(list) {
                self.attempt(&Request::new("DELETE", format!("{target}/{}", escaped(&name))));
            }
        }
    }

    fn own_names(&self, target: &str) -> Vec<String> {
        let names = self.list(target).into_iter().filter_map(|item| item["name"].as_str().map(str::to_owned));
        names.filter(|name| name.contains(self.prefix())).collect()
    }

    /// The images whose aliases are all ours, so that nobody else has them.
    fn own_images(&self) -> Vec<String> {
        let own = |image: &Value| {
            let aliases: Vec<_> = image["aliases"].as_array().into_iter().flatten().collect();
            let ours = |alias: &&Value| alias["name"].as_str().is_some_and(|name| name.contains(self.prefix()));
            !aliases.is_empty() && aliases.iter().all(ours)
        };
        let images = self.list("/1.0/images?recursion=1").into_iter().filter(own);
        images.filter_map(|image| image["fingerprint"].as_str().map(str::to_owned)).collect()
    }

    fn list(&self, target: &str) -> Vec<Value> {
        let Ok(answer) = Request::new("GET", target).send_unix(self.socket()) else { return Vec::new() };
        let list: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        list["metadata"].as_array().cloned().unwrap_or_default()
    }

    fn attempt(&self, request: &Request) {
        let Ok(answer) = request.send_unix(self.socket()) else { return };
        let begun: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if let Some(operation) = begun["operation"].as_str().filter(|operation| !operation.is_empty()) {
            let _ = Request::new("GET", format!("{operation}/wait?timeout=30")).send_unix(self.socket());
        }
    }

    fn end(&self, name: &str) {
        let target = format!("/1.0/instances/{name}");
        let stop = json!({"action": "stop", "force": true});
        self.attempt(&Request::new("PUT", format!("{target}/state")).json(&stop));
        let until = Instant::now() + CLEANING;
        loop {
            self.attempt(&Request::new("DELETE", &target));
            // A daemon is busy for some seconds with what has just ended.
            let found = Request::new("GET", &target).send_unix(self.socket()).is_ok_and(|answer| answer.status == 200);
            if !found || Instant::now() > until {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Names of aliases have slashes and colons.
fn escaped(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F").replace(':', "%3A")
}

/// The words as a shell reads them. The engines take no line breaks.
fn shell_words(words: &[&str]) -> String {
    let quoted = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''")));
    quoted.collect::<Vec<_>>().join(" ")
}
