//! How simulated containers run and end.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::files::View;
use super::process::{Process, Start, User};
use super::state::{Life, Record, Shared};
use crate::container::{ContainerExit, ContainerState, Health, HealthCheck, RestartPolicy};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventAction, ResourceKind};
use crate::signal::Signal;
use crate::stream::TerminalSize;

/// Where programs are looked for.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a container gets between the stop signal and the kill when nobody says.
const STOP_DEFAULT: Duration = Duration::from_secs(10);

/// Whether the program exists for a process that sees `view`.
pub(super) fn program_exists(view: &View, program: &str) -> bool {
    if program.contains('/') {
        return view.exists(program) && !view.stat(program).is_some_and(|entry| entry.is_directory());
    }
    PATH.split(':').any(|directory| view.exists(&format!("{directory}/{program}")))
}

/// Whom a process shall run as.
pub(super) fn find_user(view: &View, wanted: Option<&str>) -> Result<User> {
    let missing =
        || Error::invalid("user", format!("{:?} does not exist in the container", wanted.unwrap_or_default()));
    User::find(view, wanted).ok_or_else(missing)
}

/// The environment of a process in the container.
pub(super) fn environment(record: &Record, more: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("HOSTNAME".to_owned(), hostname(record)),
        ("HOME".to_owned(), "/root".to_owned()),
    ]);
    env.extend(record.spec.env.clone());
    env.extend(more.clone());
    env
}

pub(super) fn hostname(record: &Record) -> String {
    record.spec.hostname.clone().unwrap_or_else(|| record.id.chars().take(12).collect())
}

pub(super) fn may_chown(record: &Record, privileged: bool) -> bool {
    let names = |list: &[String], wanted: &str| {
        list.iter().any(|name| name.to_ascii_uppercase().trim_start_matches("CAP_") == wanted)
    };
    let (add, drop) = (&record.spec.capabilities_add, &record.spec.capabilities_drop);
    privileged
        || record.spec.privileged
        || names(add, "CHOWN")
        || !(names(drop, "CHOWN") || (names(drop, "ALL") && !names(add, "ALL")))
}

impl Shared {
    /// A resolver for processes of the container with this id.
    pub(super) fn resolver(&self, id: &str) -> super::process::Resolver {
        let (weak, id) = (Weak::clone(&self.weak), id.to_owned());
        Box::new(move |name| {
            let shared = weak.upgrade()?;
            shared.world().resolve(&id, name, shared.capabilities.network_names)
        })
    }

    /// Starts the main process, unless it runs.
    pub(super) fn start_container(&self, id: &str) -> Result<()> {
        let mut world = self.world();
        let record = world.container(id)?;
        match record.state {
            ContainerState::Running | ContainerState::Stopping => return Ok(()),
            ContainerState::Frozen => return Err(record.conflict("is frozen: unfreeze it instead")),
            _ => {}
        }
        record.stop_requested = false;
        self.start_record(record)
    }

    /// Starts a container that does not run. The world is locked by the caller.
    fn start_record(&self, record: &mut Record) -> Result<()> {
        let entrypoint = record.spec.entrypoint.iter().flatten();
        let command: Vec<String> = entrypoint.chain(record.spec.command.iter().flatten()).cloned().collect();
        let view = record.view();
        let program = command.first().cloned().unwrap_or_default();
        if !program_exists(&view, &program) {
            let reason = format!("{program:?} does not exist in the container");
            record.error = Some(reason.clone());
            record.exit_code = Some(127);
            return Err(Error::invalid("command", reason).with_resource(record.id.clone()));
        }
        let user = find_user(&view, record.spec.user.as_deref()).map_err(|error| {
            record.error = Some(error.message().to_owned());
            error.with_resource(record.id.clone())
        })?;
        let (logs, clock) = (Arc::clone(&record.logs), self.clock);
        let process = Process::new(Start {
            pid: self.next_pid(),
            parent: 1,
            command,
            env: environment(record, &BTreeMap::new()),
            directory: record.spec.working_directory.clone().unwrap_or_else(|| "/".to_owned()),
            hostname: hostname(record),
            user,
            first: !record.spec.init,
            may_chown: may_chown(record, false),
            stdin: record.spec.stdin,
            tty: record.spec.tty.then_some(TerminalSize { columns: 80, rows: 24 }),
            view,
            clock,
            frozen: record.frozen.subscribe(),
            output: Box::new(move |kind, data| logs.append(clock.now(), kind, &data)),
            resolver: self.resolver(&record.id),
        });
        record.generation += 1;
        record.state = ContainerState::Running;
        record.started_at = Some(process.started_at);
        record.error = None;
        record.main = Some(Arc::clone(&process));
        record.life.send_modify(|life| life.runs = true);
        let (weak, number, generation) = (Weak::clone(&self.weak), record.number, record.generation);
        tokio::spawn(async move {
            let code = process.run().await;
            if let Some(shared) = weak.upgrade() {
                shared.ended(number, generation, code);
            }
        });
        self.event(ResourceKind::Container, EventAction::Started, &record.id, Some(&record.name));
        if let Some(check) = record.spec.health_check.clone() {
            record.health = Some(Health::Starting);
            tokio::spawn(watch_health(Weak::clone(&self.weak), record.number, record.generation, check));
        }
        Ok(())
    }

    /// The main process has ended: so do all others, and the restart policy has its say.
    fn ended(&self, number: u64, generation: u64, code: i32) {
        let mut world = self.world();
        let Some(record) = world.containers.get_mut(&number).filter(|record| record.generation == generation) else {
            return;
        };
        for process in record.processes() {
            record.spent_cpu_seconds += process.cpu_seconds();
            process.end(137);
        }
        record.main = None;
        record.others.clear();
        record.frozen.send_replace(false);
        record.finished_at = Some(self.clock.now());
        record.exit_code = Some(code);
        let again = !record.stop_requested
            && match record.spec.restart {
                RestartPolicy::Never => false,
                RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
                RestartPolicy::OnFailure { max_retries } => {
                    code != 0 && max_retries.is_none_or(|max| record.restart_count < u64::from(max))
                }
            };
        record.state = if again { ContainerState::Restarting } else { ContainerState::Stopped };
        self.event_with(ResourceKind::Container, EventAction::Ended, &record.id, Some(&record.name), |event| {
            event.exit_code = Some(code).filter(|_| self.capabilities.exit_codes);
        });
        record.life.send_modify(|life| {
            *life = Life { runs: again, ends: life.ends + 1, exit: Some(ContainerExit::new(code)), deleted: false };
        });
        if again {
            // Engines wait longer from one restart to the next.
            let pause = Duration::from_millis(100 << record.restart_count.min(9));
            let weak = Weak::clone(&self.weak);
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                if let Some(shared) = weak.upgrade() {
                    shared.restart_by_policy(number, generation);
                }
            });
        }
    }

    fn restart_by_policy(&self, number: u64, generation: u64) {
        let mut world = self.world();
        if let Some(record) = world.containers.get_mut(&number)
            && record.generation == generation
            && record.state == ContainerState::Restarting
        {
            record.restart_count += 1;
            if self.start_record(record).is_err() {
                self.rest(record);
            }
        }
    }

    /// A container that waits for its restart does not get one.
    fn rest(&self, record: &mut Record) {
        record.state = ContainerState::Stopped;
        record.life.send_modify(|life| life.runs = false);
    }

    /// Asks the main process to end, kills it when `timeout` is over, and waits for the end.
    pub(super) async fn stop_container(&self, id: &str, timeout: Option<u32>) -> Result<()> {
        let (mut life, number, timeout, signal) = {
            let mut world = self.world();
            let record = world.container(id)?;
            match record.state {
                ContainerState::Restarting => {
                    record.stop_requested = true;
                    self.rest(record);
                    return Ok(());
                }
                state if !state.has_processes() => return Ok(()),
                _ => {}
            }
            record.stop_requested = true;
            let seconds = timeout.or(record.spec.stop_timeout_seconds);
            let timeout = seconds.map_or(STOP_DEFAULT, |seconds| Duration::from_secs(seconds.into()));
            (record.life.subscribe(), record.number, timeout, record.spec.stop_signal.unwrap_or(Signal::TERM))
        };
        if !timeout.is_zero() {
            self.signal_main(number, signal);
        }
        let ended = |life: &mut watch::Receiver<Life>| {
            let mut life = life.clone();
            async move { life.wait_for(|life| !life.runs || life.deleted).await.is_ok() }
        };
        if timeout.is_zero() || tokio::time::timeout(timeout, ended(&mut life)).await.is_err() {
            self.signal_main(number, Signal::KILL);
            if tokio::time::timeout(STOP_DEFAULT, ended(&mut life)).await.is_err() {
                return Err(Error::new(ErrorKind::DeadlineExceeded, "the container did not end after it was killed"));
            }
        }
        let mut world = self.world();
        if let Some(record) = world.containers.get_mut(&number) {
            self.event(ResourceKind::Container, EventAction::Stopped, &record.id, Some(&record.name));
        }
        Ok(())
    }

    /// Sends a signal to the main process, if there is one; thaws it first, since frozen processes take no signal.
    fn signal_main(&self, number: u64, signal: Signal) {
        let mut world = self.world();
        if let Some(record) = world.containers.get_mut(&number)
            && let Some(main) = record.main.clone()
        {
            if record.state == ContainerState::Frozen {
                record.state = ContainerState::Running;
                record.frozen.send_replace(false);
            }
            main.signal(signal);
        }
    }

    /// Takes a container away, with what belongs to it alone.
    pub(super) async fn delete_container(&self, id: &str, force: bool, volumes: bool) -> Result<()> {
        let (number, mut life) = {
            let mut world = self.world();
            let record = world.container(id)?;
            if record.state.has_processes() && !force {
                return Err(record.conflict(&format!("is {}: stop it first, or use force", record.state)));
            }
            record.stop_requested = true;
            if record.state == ContainerState::Restarting {
                self.rest(record);
            }
            (record.number, record.life.subscribe())
        };
        self.signal_main(number, Signal::KILL);
        let gone = life.wait_for(|life| !life.runs || life.deleted);
        let _ = tokio::time::timeout(STOP_DEFAULT, gone).await;
        let mut world = self.world();
        let Some(record) = world.containers.remove(&number) else {
            return Err(Error::not_found("container", id));
        };
        if volumes {
            for name in &record.anonymous_volumes {
                world.volumes.remove(name);
            }
        }
        record.life.send_modify(|life| {
            life.deleted = true;
            life.runs = false;
        });
        self.event(ResourceKind::Container, EventAction::Deleted, &record.id, Some(&record.name));
        Ok(())
    }
}

/// Runs the health check of one start of a container until that run is over.
async fn watch_health(weak: Weak<Shared>, number: u64, generation: u64, check: HealthCheck) {
    let seconds =
        |value: Option<f64>, default: f64| Duration::try_from_secs_f64(value.unwrap_or(default)).unwrap_or_default();
    let interval = seconds(check.interval_seconds, 30.0).max(Duration::from_millis(1));
    let limit = seconds(check.timeout_seconds, 30.0);
    let started = tokio::time::Instant::now();
    let mut failures = 0;
    loop {
        tokio::time::sleep(interval).await;
        let process = {
            let Some(shared) = weak.upgrade() else { return };
            let mut world = shared.world();
            let Some(record) = world.containers.get_mut(&number) else { return };
            if record.generation != generation || !record.state.has_processes() {
                return;
            }
            // It was found when the container was started; its files may have changed since.
            let Ok(user) = find_user(&record.view(), record.spec.user.as_deref()) else { return };
            let process = Process::new(Start {
                pid: shared.next_pid(),
                parent: record.main.as_ref().map_or(1, |main| main.pid),
                command: check.command.clone(),
                env: environment(record, &BTreeMap::new()),
                directory: "/".to_owned(),
                hostname: hostname(record),
                user,
                first: false,
                may_chown: may_chown(record, false),
                stdin: false,
                tty: None,
                view: record.view(),
                clock: shared.clock,
                frozen: record.frozen.subscribe(),
                output: Box::new(|_, _| ()),
                resolver: shared.resolver(&record.id),
            });
            record.others.retain(|other| other.strong_count() > 0);
            record.others.push(Arc::downgrade(&process));
            process
        };
        let well = matches!(tokio::time::timeout(limit, process.run()).await, Ok(0));
        let Some(shared) = weak.upgrade() else { return };
        let mut world = shared.world();
        let Some(record) = world.containers.get_mut(&number) else { return };
        if record.generation != generation {
            return;
        }
        if well {
            failures = 0;
        } else if started.elapsed() >= seconds(check.start_period_seconds, 0.0) {
            failures += 1;
        }
        let health = if well {
            Some(Health::Healthy)
        } else if failures >= check.retries.unwrap_or(3) {
            Some(Health::Unhealthy)
        } else {
            record.health
        };
        if health != record.health {
            record.health = health;
            shared.event(ResourceKind::Container, EventAction::Health, &record.id, Some(&record.name));
        }
    }
}
