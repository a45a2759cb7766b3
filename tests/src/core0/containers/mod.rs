//! The containers of a node, and the commands about them.

mod container;
mod create;
mod datagrams;
mod flist;
mod forwards;
mod network;
mod spawn;
mod tools;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use self::container::{Container, ContainerWork};
use self::create::{CONFIGURED, CreateArguments, DESTROYED, Nic};
use self::forwards::Forwards;
use self::network::Network;
use super::arguments::Fields;
use super::builtins::{Answer, Failure};
use super::command::Command;
use super::engine::{Answered, Engine};
use super::job::{Job, Work};
use super::node::NodeOutlet;
use super::options::Options;
use super::proc_files::Usage;
use super::result::JobResult;

/// The containers of a node.
pub(crate) struct Containers {
    network: Network,
    forwards: Forwards,
    directory: PathBuf,
    limit: usize,
    engine: Engine,
    outlet: Arc<NodeOutlet>,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    last: u16,
    containers: BTreeMap<u16, Arc<Container>>,
}

/// Where a cgroup is on this machine, if it is.
fn group_directory(subsystem: &str, name: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(subsystem).join(name)
}

fn no_container() -> Failure {
    Failure::new(500, "container does not exist")
}

fn plain(reason: String) -> Failure {
    Failure::new(500, reason)
}

impl Containers {
    /// What an earlier one left in its directory is removed.
    ///
    /// # Errors
    /// When the directory cannot be had.
    pub(crate) fn new(options: &Options, engine: Engine, outlet: Arc<NodeOutlet>) -> Result<Arc<Self>, String> {
        let directory = options.directory.join("containers");
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(Arc::new(Containers {
            network: Network::new(&options.bridge, options.subnet),
            forwards: Forwards::new(&options.forward_address),
            directory,
            limit: options.max_containers,
            engine,
            outlet,
            all: Mutex::default(),
        }))
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the bridge. A machine that has no `ip`, or does not let us, has containers without a network.
    pub(crate) async fn arrive(&self) {
        if let Err(reason) = self.network.make_bridge().await {
            eprintln!("core0: {reason}");
        }
    }

    /// Removes what outlives the containers.
    pub(crate) async fn leave(&self) {
        self.network.remove_bridge().await;
        let _ = std::fs::remove_dir_all(&self.directory);
    }

    /// The rules of all forwarded ports.
    pub(crate) fn forward_rules(&self) -> Value {
        let rules = self.forwards.rules();
        if rules.is_empty() { Value::Null } else { json!(rules) }
    }

    pub(crate) fn has(&self, id: u16) -> bool {
        self.all().containers.contains_key(&id)
    }

    fn get(&self, id: u16) -> Option<Arc<Container>> {
        self.all().containers.get(&id).cloned()
    }

    /// Those that have all the tags.
    pub(crate) fn with_tags(&self, tags: &[String]) -> Vec<u16> {
        let all = self.all();
        let matches = |container: &Container| {
            let own = container.arguments().tags.unwrap_or_default();
            tags.iter().all(|tag| own.contains(tag))
        };
        all.containers.values().filter(|container| matches(container)).map(|container| container.id).collect()
    }

    /// Runs a command in a container to its end.
    ///
    /// # Errors
    /// When there is no such container, or it takes no commands.
    pub(crate) async fn run_in(&self, id: u16, mut command: Command) -> Result<JobResult, String> {
        command.id = Uuid::new_v4().to_string();
        let job = command.id.clone();
        let container = self.get(id).ok_or("container does not exist")?;
        self.outlet.sink.flag(&job).await;
        container.dispatch(command).await?;
        self.outlet.sink.result_of(&job).await.ok_or_else(|| "no result".to_owned())
    }

    /// `None` when there is no such command.
    pub(crate) async fn call(self: &Arc<Self>, command: &Command) -> Option<Answered> {
        let arguments = command.arguments.as_ref();
        let answer = match command.command.as_str() {
            "corex.create" => self.create(command, 400).await.map(|(id, _)| json!(id)),
            "corex.create-sync" => self.create_and_wait(command).await,
            "corex.list" => Ok(self.listed(&self.with_tags(&[]))),
            "corex.find" => self.find(arguments),
            "corex.get" => self.find_one(arguments),
            "corex.dispatch" => self.dispatch(arguments).await,
            "corex.terminate" => self.terminate(arguments).await,
            "corex.nic-add" => self.add_nic(arguments).await,
            "corex.nic-remove" => self.remove_nic(arguments).await,
            "corex.portforward-add" => self.add_forward(arguments).await,
            "corex.portforward-remove" => self.remove_forward(arguments),
            name => return self.call_tool(name, arguments).await,
        };
        Some(answer.map(Answer::Value))
    }

    async fn create(self: &Arc<Self>, command: &Command, code: u32) -> Result<(u16, Arc<Job>), Failure> {
        let arguments = CreateArguments::take(command.arguments.as_ref(), command.tags.clone(), code)?;
        arguments.check(&self.network.bridge).map_err(plain)?;
        let container = {
            let mut all = self.all();
            if all.containers.len() >= self.limit {
                let count = all.containers.len();
                return Err(Failure::new(503, format!("reached the hard limit of {count} containers")));
            }
            // An id that is not in use, and neither the first nor the last of all numbers.
            let next = |id: u16| if id >= u16::MAX - 1 { 1 } else { id + 1 };
            all.last = next(all.last);
            while all.containers.contains_key(&all.last) {
                all.last = next(all.last);
            }
            let id = all.last;
            let container = Arc::new(Container::new(id, self.directory.join(id.to_string()), arguments));
            all.containers.insert(id, container.clone());
            container
        };
        let started = self.start(&container).await;
        if started.is_err() {
            self.ended(&container).await;
        }
        Ok((container.id, started?))
    }

    async fn start(self: &Arc<Self>, container: &Arc<Container>) -> Result<Arc<Job>, Failure> {
        container.fill().await.map_err(plain)?;
        let arguments = container.arguments();
        if !arguments.host_network {
            for nic in arguments.nics() {
                self.network.check(nic).await?;
            }
        }
        let (begun, beginning) = oneshot::channel();
        let work = ContainerWork {
            container: container.clone(),
            containers: self.clone(),
            outlet: self.outlet.clone(),
            begun: Mutex::new(Some(begun)),
        };
        let command = Command::new(format!("core-{}", container.id), "", container::job_arguments(container));
        let job = self.engine.run_work(command, Work::Other(Box::new(work)));
        let job = job.map_err(|_| Failure::new(500, "duplicate job id"))?;
        beginning.await.unwrap_or_else(|_| Err("container ended before it began".to_owned())).map_err(plain)?;
        Ok(job)
    }

    /// Forgets a container whose process is gone.
    async fn ended(&self, container: &Container) {
        self.forwards.remove_all(container.id);
        for (index, nic) in container.arguments().nics().iter().enumerate() {
            if matches!(nic.kind.as_str(), "default" | "bridge") && nic.state == CONFIGURED {
                // Mostly gone with the container's end of it.
                let _ = self.network.disconnect(container.id, container.pid(), index, nic).await;
            }
        }
        container.remove_files();
        self.all().containers.remove(&container.id);
    }

    async fn create_and_wait(self: &Arc<Self>, command: &Command) -> Result<Value, Failure> {
        let (_, job) = self.create(command, 500).await?;
        Ok(json!(job.wait().await))
    }

    fn listed(&self, ids: &[u16]) -> Value {
        let containers = ids.iter().filter_map(|id| self.get(*id)).filter(|container| container.pid() > 0);
        let listed = containers.map(|container| {
            let usage = Usage::of(container.pid());
            let shown = json!({
                "cpu": usage.cpu, "rss": usage.rss, "vms": usage.vms, "swap": usage.swap,
                "container": container.shown(&self.forwards),
            });
            (container.id.to_string(), shown)
        });
        listed.collect::<Map<_, _>>().into()
    }

    fn find(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let mut fields = Fields::of(arguments, "containers.ContainerFindArguments")?;
        let tags = fields.texts("tags").unwrap_or_default();
        fields.finish(500)?;
        Ok(self.listed(&self.with_tags(&tags)))
    }

    fn find_one(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let fields = Fields::of(arguments, "struct { Query interface {} \"json:\\\"query\\\"\" }")?;
        let query = fields.any("query");
        fields.finish(400)?;
        let found = match query {
            Some(Value::Number(number)) => {
                let out_of_range = || Failure::new(400, "query out of range");
                // A part of a number does not count.
                let whole = format!("{:.0}", number.as_f64().unwrap_or(-1.0).trunc());
                self.get(whole.parse().map_err(|_| out_of_range())?)
            }
            Some(Value::String(name)) => {
                let all = self.all();
                all.containers.values().find(|container| container.arguments().name == *name).cloned()
            }
            _ => return Err(Failure::new(400, "invalid query")),
        };
        Ok(found.map_or(Value::Null, |found| json!({"id": found.id, "container": found.shown(&self.forwards)})))
    }

    async fn dispatch(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        const TYPE: &str = "containers.ContainerDispatchArguments";
        let mut fields = Fields::of(arguments, TYPE)?;
        let id = fields.number::<u16>("container", "uint16");
        let command = fields.any("command").cloned().unwrap_or_else(|| json!({}));
        fields.finish(500)?;
        let mut command = Command::from_value(&command)
            .map_err(|reason| Failure::new(500, format!("json: cannot unmarshal into {TYPE}: {reason}")))?;
        if id == 0 {
            return Err(Failure::new(500, "invalid container id"));
        }
        let container = self.get(id).ok_or_else(no_container)?;
        if command.id.is_empty() {
            command.id = Uuid::new_v4().to_string();
        }
        let job = command.id.clone();
        self.outlet.sink.flag(&job).await;
        container.dispatch(command).await.map_err(plain)?;
        Ok(json!(job))
    }

    async fn terminate(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let mut fields = Fields::of(arguments, "containers.ContainerArguments")?;
        let id = fields.number::<u16>("container", "uint16");
        fields.finish(500)?;
        let job = self.has(id).then(|| self.engine.job(&format!("core-{id}"))).flatten();
        let job = job.ok_or_else(|| Failure::new(500, format!("no container with id '{id}'")))?;
        let _ = job.signal(nix::libc::SIGTERM);
        job.wait().await;
        Ok(Value::Null)
    }

    /// Connects one interface of a container, and its forwarded ports with the default one.
    async fn connect(&self, container: &Container, index: usize) -> Result<(), String> {
        let arguments = container.arguments();
        let nic = &arguments.nics()[index];
        let connected = async {
            self.network.connect(container.id, container.pid(), index, nic).await?;
            container.add_name_servers(&self.network.name_servers(nic));
            if nic.config.dhcp {
                self.start_dhcp(container, &nic.device(index));
            }
            if nic.kind == "default" {
                for (host, port) in &arguments.port {
                    self.forward(container.id, host, *port).await?;
                }
            }
            Ok(())
        };
        let connected = connected.await;
        container.nic_is(index, connected.is_ok());
        connected
    }

    async fn forward(&self, id: u16, host: &str, port: i64) -> Result<(), String> {
        let port = u16::try_from(port).map_err(|_| "invalid port number")?;
        let address = self.network.container_address(id).parse().map_err(|_| "no address")?;
        self.forwards.add(id, host, SocketAddr::new(address, port)).await
    }

    async fn add_nic(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let mut fields = Fields::of(
            arguments,
            "struct { Container uint16 \"json:\\\"container\\\"\"; Nic containers.Nic \"json:\\\"nic\\\"\" }",
        )?;
        let id = fields.number::<u16>("container", "uint16");
        let null = Value::Null;
        let nic =
            Nic::in_member(&mut fields, "nic", arguments.and_then(|arguments| arguments.get("nic")).unwrap_or(&null));
        fields.finish(400)?;
        let container = self.get(id).ok_or_else(|| Failure::new(404, "container does not exist"))?;
        let (index, checked) = container.change(|arguments| {
            if arguments.host_network {
                return (0, Err("cannot add a nic in host network mode".to_owned()));
            }
            let nics = arguments.nics.get_or_insert_default();
            let index = nics.len();
            nics.push(nic.clone());
            let checked = arguments.check(&self.network.bridge);
            if checked.is_err() {
                arguments.nics.get_or_insert_default().truncate(index);
            }
            (index, checked)
        });
        checked.map_err(|reason| Failure::new(400, reason))?;
        if let Err(failure) = self.network.check(&nic).await {
            container.nic_is(index, false);
            return Err(failure);
        }
        self.connect(&container, index).await.map_err(plain)?;
        Ok(Value::Null)
    }

    async fn remove_nic(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let mut fields = Fields::of(
            arguments,
            "struct { Container uint16 \"json:\\\"container\\\"\"; Index int \"json:\\\"index\\\"\" }",
        )?;
        let (id, index) = (fields.number::<u16>("container", "uint16"), fields.number::<i64>("index", "int"));
        fields.finish(400)?;
        let container = self.get(id).ok_or_else(|| Failure::new(404, "container does not exist"))?;
        let nics = container.arguments().nics.unwrap_or_default();
        let found = usize::try_from(index).ok().and_then(|index| Some((index, nics.get(index)?)));
        let (index, nic) = found.ok_or_else(|| Failure::new(400, "nic index out of range"))?;
        if nic.state != CONFIGURED {
            return Err(Failure::new(412, format!("nic is in '{}' state", nic.state)));
        }
        container.change(|arguments| arguments.nics.get_or_insert_default()[index].state = DESTROYED.to_owned());
        self.network.disconnect(id, container.pid(), index, nic).await.map_err(plain)?;
        Ok(Value::Null)
    }

    fn forward_arguments(&self, arguments: Option<&Value>) -> Result<(Arc<Container>, String, i64), Failure> {
        let mut fields = Fields::of(arguments, "containers.containerPortForward")?;
        let id = fields.number::<u16>("container", "uint16");
        let (port, host) = (fields.number::<i64>("container_port", "int"), fields.text("host_port"));
        fields.finish(400)?;
        let container = self.get(id).ok_or_else(|| Failure::new(404, "container does not exist"))?;
        Ok((container, host, port))
    }

    async fn add_forward(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let (container, host, port) = self.forward_arguments(arguments)?;
        if !container.arguments().nics().iter().any(|nic| nic.kind == "default") {
            return Err(Failure::new(500, "Container doesn't have a default nic"));
        }
        self.forward(container.id, &host, port).await.map_err(plain)?;
        Ok(Value::Null)
    }

    fn remove_forward(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let (container, host, port) = self.forward_arguments(arguments)?;
        self.forwards.remove(container.id, &host, u16::try_from(port).unwrap_or_default());
        Ok(Value::Null)
    }
}
