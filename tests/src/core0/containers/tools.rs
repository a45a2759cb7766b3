//! The commands about containers that a real node leaves to other programs, which mostly are not there: restic for
//! backups, zflist for flists, zerotier; and a client for DHCP.

use serde_json::{Value, json};

use super::super::arguments::Fields;
use super::super::builtins::{Answer, Failure};
use super::super::command::Command;
use super::super::engine::Answered;
use super::super::job::Job;
use super::super::result::{JobResult, SUCCESS};
use super::{Containers, no_container};

impl Containers {
    /// `None` when there is no such command.
    pub(super) async fn call_tool(&self, name: &str, arguments: Option<&Value>) -> Option<Answered> {
        let answer = match name {
            "corex.backup" => self.back_up(arguments).await,
            "corex.restore" => self.restore(arguments).await,
            "corex.flist-layer" | "corex.flist.create" => self.make_flist(arguments).await,
            "corex.zerotier.info" => self.zerotier(arguments, "info").await,
            "corex.zerotier.list" => self.zerotier(arguments, "listnetworks").await,
            _ => return None,
        };
        Some(answer.map(Answer::Value))
    }

    fn container_of(&self, fields: &mut Fields<'_>) -> u16 {
        fields.number::<u16>("container", "uint16")
    }

    async fn back_up(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let mut fields = Fields::of(arguments, "struct { Container uint16; URL string; Tags []string }")?;
        let (id, url) = (self.container_of(&mut fields), fields.text("url"));
        let tags = fields.texts("tags");
        fields.finish(500)?;
        if id == 0 {
            return Err(Failure::new(500, "invalid container id"));
        }
        let container = self.get(id).ok_or_else(no_container)?;
        let root = container.root.display().to_string();
        let mut options = vec!["-r", url.as_str(), "backup"];
        for tag in tags.iter().flatten() {
            options.extend(["--tag", tag]);
        }
        options.push(&root);
        let result = self.system("restic", &options).await?;
        if result.state != SUCCESS {
            let [_, complaint] = result.streams.unwrap_or_default();
            return Err(Failure::new(500, format!("failed to backup container: {complaint}")));
        }
        let [output, _] = result.streams.unwrap_or_default();
        let snapshot = output.split("snapshot ").nth(1).and_then(|rest| rest.split(' ').next());
        snapshot.map(|id| json!(id)).ok_or_else(|| Failure::new(500, "failed to retrieve snapshot ID"))
    }

    async fn restore(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let mut fields = Fields::of(arguments, "struct { URL string \"json:\\\"url\\\"\" }")?;
        let url = fields.text("url");
        fields.finish(500)?;
        let (repository, snapshot) = url.split_once('#').unwrap_or((&url, ""));
        if snapshot.is_empty() {
            return Err(Failure::new(500, "missing snapshot id"));
        }
        let result = self.system("restic", &["-r", repository, "restore", snapshot]).await?;
        let [_, complaint] = result.streams.unwrap_or_default();
        Err(Failure::new(500, format!("failed to restore snapshot: {complaint}")))
    }

    async fn make_flist(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let mut fields = Fields::of(arguments, "containers.createArgs")?;
        let id = self.container_of(&mut fields);
        let (flist, source) = (fields.text("flist"), fields.text("src"));
        fields.finish(500)?;
        if id == 0 {
            return Err(Failure::new(500, "invalid container id"));
        }
        let container = self.get(id).ok_or_else(no_container)?;
        let (archive, source) = (container.inside(&flist), container.inside(&source));
        let options = ["--archive", &archive.display().to_string(), "--create", &source.display().to_string()];
        self.tool("zflist", &options).await.map(|_| json!(archive))
    }

    async fn zerotier(&self, arguments: Option<&Value>, verb: &str) -> Result<Value, Failure> {
        let mut fields = Fields::of(arguments, "containers.ContainerArguments")?;
        let id = self.container_of(&mut fields);
        fields.finish(500)?;
        let container = self.get(id).ok_or_else(no_container)?;
        let namespace = format!("--net=/proc/{}/ns/net", container.pid());
        let output = self.tool("nsenter", &[&namespace, "zerotier-cli", "-j", verb]).await?;
        serde_json::from_str(&output).map_err(|error| Failure::new(500, error.to_string()))
    }

    /// What a program printed.
    async fn tool(&self, program: &str, options: &[&str]) -> Result<String, Failure> {
        let result = self.system(program, options).await?;
        let streams = result.streams.clone();
        if result.state == SUCCESS {
            let [output, _] = streams.unwrap_or_default();
            return Ok(output);
        }
        let printed = streams.map(|streams| streams.join(" ")).unwrap_or_default();
        Err(Failure::new(result.code, format!("({}): [{printed}]", result.state)))
    }

    fn system_job(&self, program: &str, options: &[&str]) -> Result<std::sync::Arc<Job>, Failure> {
        let command = Command::new("", "core.system", json!({"name": program, "args": options}));
        self.engine.run(command).map_err(|_| Failure::new(500, "duplicate job id"))
    }

    async fn system(&self, program: &str, options: &[&str]) -> Result<JobResult, Failure> {
        Ok(self.system_job(program, options)?.wait().await)
    }

    /// Asks for an address, for as long as that takes.
    pub(super) fn start_dhcp(&self, container: &super::Container, device: &str) {
        let namespace = format!("--net=/proc/{}/ns/net", container.pid());
        let _ = self.system_job("nsenter", &[&namespace, "busybox", "udhcpc", "-q", "-i", device]);
    }
}
