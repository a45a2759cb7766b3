use super::*;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

const BYTES: u64 = 1024 * 1024;
const KEEP: Duration = Duration::from_secs(3600);

fn open(directory: &Path, bytes: u64) -> Audit {
    Audit::open(directory, bytes, KEEP, "here").unwrap()
}

fn deed(operation: &str, request: &str) -> Deed {
    let target = [("node".to_owned(), "sea".to_owned())].into_iter().collect();
    Deed { operation: Some(operation.to_owned()), request_id: Some(request.to_owned()), target, ..Deed::default() }
}

async fn all(audit: &Audit) -> Vec<AuditEntry> {
    audit.read(0, 100_000, Filter::default()).await.unwrap()
}

fn outcomes(entries: &[AuditEntry]) -> Vec<Outcome> {
    entries.iter().map(|entry| entry.outcome).collect()
}

fn text(directory: &Path) -> String {
    let files = files::list(directory).unwrap();
    files.iter().map(|file| std::fs::read_to_string(&file.path).unwrap()).collect()
}

#[tokio::test]
async fn what_began_is_on_the_disk_before_it_is_done_and_what_came_of_it_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit");
    let audit = open(&path, BYTES);
    let begun = audit.begin(deed("a", "r1")).await.unwrap();
    assert!(text(&path).contains("\"request_id\":\"r1\""));
    assert_eq!(outcomes(&all(&audit).await), [Outcome::Begun]);
    begun.end(End { status: Some(204), ..End::of(Outcome::Succeeded) });
    drop(audit.begin(deed("b", "r2")).await.unwrap());
    let entries = all(&audit).await;
    assert_eq!(outcomes(&entries), [Outcome::Succeeded, Outcome::Unknown]);
    assert!(entries[0].id < entries[1].id);
    audit.close().await;
    assert_eq!(audit.begin(deed("c", "r3")).await.unwrap_err().retry(), roadstead_core::Retry::Safe);
    for file in files::list(&path).unwrap() {
        assert_eq!(std::fs::metadata(file.path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_server_that_died_leaves_what_it_began_without_an_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let audit = open(directory.path(), BYTES);
    audit.begin(deed("a", "r1")).await.unwrap().end(End::of(Outcome::Failed));
    // As by a kill: no end is ever written.
    std::mem::forget(audit.begin(deed("b", "r2")).await.unwrap());
    audit.close().await;
    let before = text(directory.path());
    // A line that was cut off.
    let last = files::list(directory.path()).unwrap().pop().unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(last.path).unwrap();
    file.write_all(b"{\"seq\":4,\"event\":\"ended\",\"en").unwrap();
    let audit = open(directory.path(), BYTES);
    audit.begin(deed("c", "r3")).await.unwrap().end(End::of(Outcome::Succeeded));
    let entries = all(&audit).await;
    assert_eq!(outcomes(&entries), [Outcome::Failed, Outcome::Begun, Outcome::Succeeded]);
    let filter = Filter { outcome: Some(Outcome::Begun), ..Filter::default() };
    assert_eq!(audit.read(0, 10, filter).await.unwrap()[0].id, entries[1].id);
    let after = text(directory.path());
    assert!(after.starts_with(&before) && !after.contains("\"en{"), "only what was cut off is taken away");
    assert!(after.lines().all(|line| serde_json::from_str::<Line>(line).is_ok()));
}

#[tokio::test]
async fn many_at_once_are_all_there_each_with_its_own_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let audit = Arc::new(open(directory.path(), BYTES));
    let tasks = (0..300_u32).map(|number| {
        let audit = Arc::clone(&audit);
        tokio::spawn(async move {
            let begun = audit.begin(deed(&format!("o{}", number % 3), &format!("r{number}"))).await.unwrap();
            tokio::task::yield_now().await;
            begun.end(End::of(if number % 3 == 0 { Outcome::Succeeded } else { Outcome::Failed }));
        })
    });
    futures_util::future::join_all(tasks).await;
    let entries = all(&audit).await;
    assert_eq!(entries.len(), 300);
    for entry in &entries {
        let text = serde_json::to_value(entry).unwrap();
        assert_eq!(entry.outcome == Outcome::Succeeded, text["operation"] == "o0", "{text}");
    }
    // Page by page it is the same.
    for outcome in [None, Some(Outcome::Succeeded)] {
        let wanted: Vec<_> = entries
            .iter()
            .filter(|entry| outcome.is_none_or(|outcome| entry.outcome == outcome))
            .map(|entry| entry.id)
            .collect();
        let (mut after, mut ids) = (0, Vec::new());
        loop {
            let mut page = audit.read(after, 7, Filter { outcome, ..Filter::default() }).await.unwrap();
            let more = page.len() > 7;
            page.truncate(7);
            ids.extend(page.iter().map(|entry| entry.id));
            if !more {
                break;
            }
            after = *ids.last().unwrap();
        }
        assert_eq!(ids, wanted);
    }
}

#[tokio::test]
async fn the_log_is_bounded_and_the_oldest_goes_first() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = 32 * 1024;
    let audit = open(directory.path(), bytes);
    for number in 0..400 {
        audit.begin(deed("a", &format!("r{number}"))).await.unwrap().end(End::of(Outcome::Succeeded));
    }
    let entries = all(&audit).await;
    let files = files::list(directory.path()).unwrap();
    assert!(files.iter().map(|file| file.bytes).sum::<u64>() <= bytes, "{files:?}");
    assert!(files.len() > 3 && entries.len() > 50 && entries.len() < 400, "{} of 400", entries.len());
    let last = serde_json::to_value(entries.last().unwrap()).unwrap();
    assert_eq!(last["request_id"], "r399");
    assert!(entries.windows(2).all(|pair| pair[0].id < pair[1].id));
    // A cursor from before what is gone goes on with what is there.
    assert_eq!(audit.read(3, 1, Filter::default()).await.unwrap()[0].id, entries[0].id);
    audit.close().await;
    // What is too old goes, too.
    let long_ago = std::time::SystemTime::now() - 2 * KEEP;
    for file in &files[..2] {
        std::fs::File::options().write(true).open(&file.path).unwrap().set_modified(long_ago).unwrap();
    }
    open(directory.path(), 1024 * bytes);
    let left: Vec<_> = files::list(directory.path()).unwrap().iter().map(|file| file.first).collect();
    assert_eq!(left, files[2..].iter().map(|file| file.first).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_written_is_not_begun_and_an_outcome_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let audit = open(directory.path(), 8 * 256);
    let begun = audit.begin(deed("a", "first")).await.unwrap();
    // The next files cannot be made: their names are taken.
    let blocked: Vec<_> = (3..40).map(|number| directory.path().join(format!("{number:020}.jsonl"))).collect();
    blocked.iter().for_each(|path| std::fs::create_dir(path).unwrap());
    begun.end(End::of(Outcome::Succeeded));
    for number in 0..5 {
        let refused = audit.begin(deed("b", &format!("no{number}"))).await.unwrap_err();
        assert_eq!((refused.kind(), refused.retry()), (ErrorKind::Unavailable, roadstead_core::Retry::Safe));
    }
    blocked.iter().for_each(|path| std::fs::remove_dir(path).unwrap());
    audit.begin(deed("c", "last")).await.unwrap().end(End::of(Outcome::Failed));
    assert_eq!(outcomes(&all(&audit).await), [Outcome::Succeeded, Outcome::Failed]);
}

#[tokio::test]
async fn filters_narrow() {
    let directory = tempfile::tempdir().unwrap();
    let audit = open(directory.path(), BYTES);
    audit.begin(deed("a", "r1")).await.unwrap().end(End::of(Outcome::Succeeded));
    let between = roadstead_core::Timestamp::now();
    let target = [("source", "sea"), ("target", "lake"), ("container", "web")];
    audit
        .begin(Deed::of_server("move.apply", &target, Some("r2".to_owned())))
        .await
        .unwrap()
        .end(End::of(Outcome::Failed));
    audit.refused(Deed { peer: Some("127.0.0.1:5".to_owned()), ..deed("a", "r3") }, "no token");
    for _ in 0..50 {
        audit.refused(Deed { peer: Some("127.0.0.1:6".to_owned()), ..deed("a", "r4") }, "no token");
    }
    let count = |filter: Filter| {
        let audit = &audit;
        async move { audit.read(0, 100, filter).await.unwrap().len() }
    };
    let none = Filter::default;
    assert_eq!(count(none()).await, 4);
    let refused = Filter { outcome: Some(Outcome::Refused), ..none() };
    let refused = audit.read(0, 100, refused).await.unwrap();
    assert_eq!(serde_json::to_value(&refused[1]).unwrap()["peers"], serde_json::json!({"127.0.0.1": 50}));
    assert_eq!(count(Filter { request_id: Some("r2".to_owned()), ..none() }).await, 1);
    assert_eq!(count(Filter { operation: Some("a".to_owned()), ..none() }).await, 2);
    assert_eq!(count(Filter { node: Some("lake".to_owned()), ..none() }).await, 1);
    assert_eq!(count(Filter { node: Some("sea".to_owned()), ..none() }).await, 3);
    assert_eq!(count(Filter { container: Some("web".to_owned()), ..none() }).await, 1);
    assert_eq!(count(Filter { since: Some(between), ..none() }).await, 3);
    assert_eq!(count(Filter { until: Some(between), ..none() }).await, 1);
}
