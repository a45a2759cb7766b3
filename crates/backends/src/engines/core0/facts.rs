//! What a node is.

use roadstead_core::{NodeInfo, Result};

use super::commands::agent::Pong;
use super::shared::Core0;

/// N10.
pub(super) async fn ping(core0: &Core0) -> Result<()> {
    // A Redis that is away says so at once; a command that was pushed to it is waited for.
    core0.client.reach().await?;
    core0.host.commands().agent().ping().await.map(drop)
}

/// N11.
pub(super) async fn node_info(core0: &Core0) -> Result<NodeInfo> {
    let commands = core0.host.commands();
    let (agent, facts) = (commands.agent(), commands.info());
    let (pong, os, cpus, memory) = tokio::try_join!(agent.ping(), facts.os(), facts.cpu(), facts.memory())?;
    let known = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let mut info = NodeInfo::default();
    info.name.clone_from(&core0.name);
    "core0".clone_into(&mut info.engine);
    info.engine_version = version(&pong);
    info.hostname = known(&os.hostname);
    info.os = known(&format!("{} {}", os.platform, os.platform_version)).or_else(|| known(&os.os));
    info.kernel = known(&os.kernel_version);
    info.cpus = u32::try_from(cpus.len()).ok().filter(|count| *count > 0);
    info.memory_bytes = Some(memory.total_bytes).filter(|bytes| *bytes > 0);
    info.local = core0.client.links.is_local();
    Ok(info)
}

/// Nodes have no version but their branch and revision.
fn version(pong: &Pong) -> String {
    let short = pong.revision.get(..7).unwrap_or(&pong.revision);
    match (pong.branch.as_str(), short) {
        ("", "") => "unknown".to_owned(),
        (branch, "") => branch.to_owned(),
        ("", revision) => revision.to_owned(),
        (branch, revision) => format!("{branch}@{revision}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let told = |branch: &str, revision: &str| {
            let mut pong = Pong::default();
            (pong.branch, pong.revision) = (branch.to_owned(), revision.to_owned());
            version(&pong)
        };
        assert_eq!(told("master", "5ca6d8a6ffff"), "master@5ca6d8a");
        assert_eq!((told("", ""), told("master", "")), ("unknown".to_owned(), "master".to_owned()));
    }
}
