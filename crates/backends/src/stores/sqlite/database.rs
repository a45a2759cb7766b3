//! The file: its schema, and what is asked of it and done to it, in the caller's thread.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use roadstead_core::store::{
    Change, Entries, Entry, Guard, Key, LeaseId, ListEntries, Prefix, Revision, Transaction, Watched, Write, changed,
    no_lease,
};
use roadstead_core::{Error, ErrorKind, Result, Retry};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, named_params};

/// `Road`: what kind of file it is, for programs that look.
const APPLICATION: i64 = 0x526f_6164;
/// How long it is waited for another connection. Ours never hold the file for long.
const BUSY: Duration = Duration::from_secs(5);
/// The steps from each version of the schema to the next one; the last one is the version of today.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE entries (
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL,
        revision INTEGER NOT NULL,
        lease INTEGER
    ) WITHOUT ROWID;
    CREATE INDEX entries_by_lease ON entries (lease) WHERE lease IS NOT NULL;
    -- What each transaction changed, until it is forgotten. Without a value it was deleted.
    CREATE TABLE changes (
        revision INTEGER NOT NULL,
        key TEXT NOT NULL,
        value BLOB,
        lease INTEGER,
        PRIMARY KEY (revision, key)
    ) WITHOUT ROWID;
    CREATE TABLE leases (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        life_seconds INTEGER NOT NULL
    );
    -- One row: the revision that is reached, and the last one that is forgotten.
    CREATE TABLE state (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        revision INTEGER NOT NULL,
        forgotten INTEGER NOT NULL
    );
    INSERT INTO state VALUES (1, 0, 0);
"];

/// A connection to the file.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    /// The file itself, locked against other processes. It is closed after the connection: closing it takes away locks of SQLite's.
    _file: Option<File>,
}

impl Database {
    /// To read and write. It holds the file against other processes.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // SQLite would make it as the mask says.
        let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let file = made.map_err(|cause| failed_to_open(path, cause))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!("the store {} is in use by another process", path.display());
                return Err(Error::new(ErrorKind::Conflict, text));
            }
            Err(TryLockError::Error(cause)) => return Err(failed_to_open(path, cause)),
        }
        let connection = Database::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let mut database = Database { connection, _file: Some(file) };
        // Before anything is written: the journal's mode is kept in the file.
        let version = database.version(path)?;
        database.connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        database.migrate(version)?;
        Ok(database)
    }

    /// To read what the other one has written.
    pub(super) fn open_beside(path: &Path) -> Result<Self> {
        let connection = Database::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(Database { connection, _file: None })
    }

    /// To read what another process writes; none when there is nothing.
    pub(super) fn open_to_read(path: &Path) -> Result<Option<Self>> {
        if !path.try_exists().map_err(|cause| failed_to_open(path, cause))? {
            return Ok(None);
        }
        let database = Database::open_beside(path)?;
        match usize::try_from(database.version(path)?) {
            // Made, and not written yet.
            Ok(0) => Ok(None),
            Ok(version) if version == MIGRATIONS.len() => Ok(Some(database)),
            _ => {
                let text = format!(
                    "{} is of an older Roadstead: start the server once to bring it up to date",
                    path.display()
                );
                Err(Error::new(ErrorKind::Conflict, text))
            }
        }
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
        let open = || {
            let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(BUSY)?;
            // What is acknowledged is on the disk.
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.set_prepared_statement_cache_capacity(32);
            Ok(connection)
        };
        open().map_err(|error: rusqlite::Error| failed_to_open(path, error))
    }

    /// The version of its schema; 0 of an empty file.
    fn version(&self, path: &Path) -> Result<i64> {
        let newest = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        let number = |name: &str| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let tables = self.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
        let (version, application, tables) = (|| Ok((number("user_version")?, number("application_id")?, tables?)))()
            .map_err(|error: rusqlite::Error| failed_to_open(path, error))?;
        let is_empty = (version, application, tables) == (0, 0, 0);
        if !is_empty && application != APPLICATION {
            let text = format!("{} is a database of another program", path.display());
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        if version > newest {
            let text = format!(
                "{} has schema version {version}; this Roadstead knows versions up to {newest} and does not touch it",
                path.display()
            );
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        Ok(version)
    }

    /// Brings an older schema up to date, step by step, each of them whole or not at all.
    fn migrate(&mut self, version: i64) -> Result<()> {
        let done = usize::try_from(version).unwrap_or(usize::MAX);
        for (step, statements) in MIGRATIONS.iter().enumerate().skip(done) {
            let mut migrate = || {
                let transaction = self.connection.transaction()?;
                transaction.execute_batch(statements)?;
                transaction.pragma_update(None, "application_id", APPLICATION)?;
                transaction.pragma_update(None, "user_version", i64::try_from(step + 1).unwrap_or(i64::MAX))?;
                transaction.commit()
            };
            migrate().map_err(failed)?;
        }
        Ok(())
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Entry>> {
        let ask = || {
            let mut statement =
                self.connection.prepare_cached("SELECT key, value, revision, lease FROM entries WHERE key = ?1")?;
            statement.query_row([key.as_str()], Read::of).optional()
        };
        ask().map_err(failed)?.map(Read::entry).transpose()
    }

    /// What keys begin with, and what is behind all of them: in the order of bytes a slash is followed by a zero.
    fn bounds(prefix: &Prefix) -> (String, Option<String>) {
        let begin = prefix.as_str().to_owned();
        let end = begin.strip_suffix('/').map(|names| format!("{names}0"));
        (begin, end)
    }

    pub(super) fn list(&mut self, options: &ListEntries) -> Result<Entries> {
        let (begin, end) = Database::bounds(&options.prefix);
        let after = options.after.as_ref().map_or("", Key::as_str);
        let limit = i64::try_from(options.limit + 1).unwrap_or(i64::MAX);
        let mut ask = || {
            // One transaction: entries and revision are of one moment.
            let transaction = self.connection.transaction()?;
            let revision = reached(&transaction)?;
            let mut statement = transaction.prepare_cached(
                "SELECT key, value, revision, lease FROM entries
                 WHERE key >= :begin AND (:end IS NULL OR key < :end) AND key > :after ORDER BY key LIMIT :limit",
            )?;
            let parameters = named_params! { ":begin": begin, ":end": end, ":after": after, ":limit": limit };
            let found: Vec<Read> = statement.query_map(parameters, Read::of)?.collect::<rusqlite::Result<_>>()?;
            Ok((found, revision))
        };
        let (found, revision) = ask().map_err(failed)?;
        let mut listed = Entries::default();
        listed.more = found.len() > options.limit;
        listed.revision = revision;
        listed.entries = found.into_iter().take(options.limit).map(Read::entry).collect::<Result<_>>()?;
        Ok(listed)
    }

    pub(super) fn revision(&self) -> Result<Revision> {
        reached(&self.connection).map_err(failed)
    }

    /// What at most so many transactions after this revision changed below the prefix, and until which that is all; nothing when
    /// some of it is forgotten.
    pub(super) fn changes(
        &mut self,
        prefix: &Prefix,
        after: Revision,
        most: u64,
    ) -> Result<Option<(Vec<Watched>, Revision)>> {
        let (begin, end) = Database::bounds(prefix);
        let mut ask = || {
            let transaction = self.connection.transaction()?;
            let forgotten: i64 =
                transaction.prepare_cached("SELECT forgotten FROM state")?.query_row([], |row| row.get(0))?;
            let until = reached(&transaction)?.min(Revision(after.0.saturating_add(most))).max(after);
            if number(after.0) < forgotten {
                return Ok(None);
            }
            let mut statement = transaction.prepare_cached(
                "SELECT key, value, revision, lease FROM changes
                 WHERE revision > :after AND revision <= :until AND key >= :begin AND (:end IS NULL OR key < :end)
                 ORDER BY revision, key",
            )?;
            let parameters =
                named_params! { ":after": number(after.0), ":until": number(until.0), ":begin": begin, ":end": end };
            let found: Vec<Read> = statement.query_map(parameters, Read::of)?.collect::<rusqlite::Result<_>>()?;
            Ok(Some((found, until)))
        };
        let Some((found, until)) = ask().map_err(failed)? else { return Ok(None) };
        let mut items: Vec<(Revision, Vec<Change>)> = Vec::new();
        for read in found {
            let revision = read.revision;
            let change = read.change()?;
            match items.last_mut().filter(|(last, _)| *last == revision) {
                Some((_, changes)) => changes.push(change),
                None => items.push((revision, vec![change])),
            }
        }
        let items = items.into_iter().map(|(revision, changes)| Watched::Changes { changes, revision });
        Ok(Some((items.collect(), until)))
    }

    /// Begins what is to be written together.
    pub(super) fn begin(&mut self) -> Result<Batch<'_>> {
        // Ours is the only connection that writes: what is read in it stays until it is over.
        let begun = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate);
        Ok(Batch(begun.map_err(failed)?))
    }

    /// All leases with their lives in seconds.
    pub(super) fn leases(&self) -> Result<Vec<(LeaseId, Duration)>> {
        let ask = || {
            let mut statement = self.connection.prepare_cached("SELECT id, life_seconds FROM leases")?;
            let lease =
                |row: &Row<'_>| Ok((LeaseId(unsigned(row.get(0)?)), Duration::from_secs(unsigned(row.get(1)?))));
            statement.query_map([], lease)?.collect::<rusqlite::Result<_>>()
        };
        ask().map_err(failed)
    }
}

/// What is written together, and is on the disk once it is over.
#[derive(Debug)]
pub(super) struct Batch<'a>(rusqlite::Transaction<'a>);

impl Batch<'_> {
    /// Does one of many: all of it or nothing, whatever the others do.
    pub(super) fn each<T>(&mut self, write: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let savepoint = self.0.savepoint().map_err(failed)?;
        let written = write(&savepoint)?;
        savepoint.commit().map_err(failed)?;
        Ok(written)
    }

    /// Forgets all but so many transactions, and puts everything on the disk; gives the revision.
    pub(super) fn end(self, remembered: u64) -> Result<Revision> {
        let end = || {
            let revision = reached(&self.0)?;
            let forgotten = number(revision.0.saturating_sub(remembered));
            let statement = "DELETE FROM changes WHERE revision <= ?1";
            if self.0.prepare_cached(statement)?.execute([forgotten])? > 0 {
                self.0.prepare_cached("UPDATE state SET forgotten = max(forgotten, ?1)")?.execute([forgotten])?;
            }
            self.0.commit()?;
            Ok(revision)
        };
        // Whether it is there after the next start is not known.
        end().map_err(|error| failed(error).with_retry(Retry::Unknown))
    }
}

/// Does a transaction; gives its revision.
pub(super) fn commit(connection: &Connection, transaction: &Transaction) -> Result<Revision> {
    for guard in transaction.guards() {
        let revision = revision_of(connection, guard.key()).map_err(failed)?;
        let holds = match guard {
            Guard::Absent(_) => revision.is_none(),
            Guard::Unchanged(_, before) => revision == Some(*before),
            _ => false,
        };
        if !holds {
            return Err(changed(guard.key()));
        }
    }
    write(connection, transaction.writes())
}

/// Writes, without asking; gives the revision.
fn write(connection: &Connection, writes: &[Write]) -> Result<Revision> {
    let before = reached(connection).map_err(failed)?;
    let revision = number(before.0 + 1);
    let mut is_changed = false;
    for write in writes {
        let key = write.key().as_str();
        let (value, lease) = match write {
            Write::Put { value, lease, .. } => (Some(&value[..]), lease.map(|lease| number(lease.0))),
            _ => (None, None),
        };
        if let Some(lease) = lease
            && !has_lease(connection, lease).map_err(failed)?
        {
            return Err(no_lease());
        }
        let run = || {
            let count = match value {
                Some(value) => connection
                    .prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3, ?4)")?
                    .execute((key, value, revision, lease))?,
                None => connection.prepare_cached("DELETE FROM entries WHERE key = ?1")?.execute([key])?,
            };
            if count > 0 {
                connection
                    .prepare_cached("INSERT INTO changes (revision, key, value, lease) VALUES (?1, ?2, ?3, ?4)")?
                    .execute((revision, key, value, lease))?;
            }
            Ok(count > 0)
        };
        is_changed |= run().map_err(failed)?;
    }
    if !is_changed {
        return Ok(before);
    }
    let run = || connection.prepare_cached("UPDATE state SET revision = ?1")?.execute([revision]);
    run().map_err(failed)?;
    Ok(Revision(before.0 + 1))
}

/// Gives a lease.
pub(super) fn lease(connection: &Connection, life: Duration) -> Result<LeaseId> {
    let run =
        || connection.prepare_cached("INSERT INTO leases (life_seconds) VALUES (?1)")?.insert([number(life.as_secs())]);
    run().map(|id| LeaseId(unsigned(id))).map_err(failed)
}

/// Ends a lease, with all that hangs on it.
pub(super) fn end_lease(connection: &Connection, lease: LeaseId) -> Result<()> {
    let run = || {
        let mut statement = connection.prepare_cached("SELECT key FROM entries WHERE lease = ?1")?;
        let keys: Vec<String> =
            statement.query_map([number(lease.0)], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        connection.prepare_cached("DELETE FROM leases WHERE id = ?1")?.execute([number(lease.0)])?;
        Ok(keys)
    };
    let keys = run().map_err(failed)?;
    let writes: Vec<Write> = keys.into_iter().map(|key| Key::new(key).map(Write::Delete)).collect::<Result<_>>()?;
    write(connection, &writes).map(|_| ())
}

fn reached(connection: &Connection) -> rusqlite::Result<Revision> {
    let mut statement = connection.prepare_cached("SELECT revision FROM state")?;
    statement.query_row([], |row| Ok(Revision(unsigned(row.get(0)?))))
}

fn revision_of(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Revision>> {
    let mut statement = connection.prepare_cached("SELECT revision FROM entries WHERE key = ?1")?;
    statement.query_row([key.as_str()], |row| Ok(Revision(unsigned(row.get(0)?)))).optional()
}

fn has_lease(connection: &Connection, lease: i64) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM leases WHERE id = ?1")?.exists([lease])
}

/// A row of entries or changes.
struct Read {
    key: String,
    value: Option<Vec<u8>>,
    revision: Revision,
    lease: Option<LeaseId>,
}

impl Read {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Read {
            key: row.get(0)?,
            value: row.get(1)?,
            revision: Revision(unsigned(row.get(2)?)),
            lease: row.get::<_, Option<i64>>(3)?.map(|lease| LeaseId(unsigned(lease))),
        })
    }

    fn entry(self) -> Result<Entry> {
        let mut entry = Entry::new(Key::new(self.key)?, Bytes::from(self.value.unwrap_or_default()), self.revision);
        entry.lease = self.lease;
        Ok(entry)
    }

    fn change(self) -> Result<Change> {
        if self.value.is_some() { self.entry().map(Change::Put) } else { Key::new(self.key).map(Change::Deleted) }
    }
}

/// SQLite has signed numbers only; ours are counted from one.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn failed_to_open(path: &Path, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    let text = format!("the store {} cannot be opened: {cause}", path.display());
    Error::new(ErrorKind::Unexpected, text).with_source(cause)
}

/// Nothing was changed by what failed so: SQLite takes it back.
fn failed(error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::OutOfMemory | ErrorCode::TooBig) => ErrorKind::ResourceExhausted,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::SystemIoFailure) => {
            ErrorKind::Unavailable
        }
        _ => ErrorKind::Unexpected,
    };
    Error::new(kind, format!("the store failed: {error}")).with_source(error)
}
