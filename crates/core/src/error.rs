//! The one error of Roadstead: what failed, where, and whether trying again is wise.
//!
//! Every fallible call of every trait answers with [`Error`]. Adapters do not invent statuses: the single [`TABLE`]
//! says which HTTP status, problem type, Python exception and exit code belong to an [`ErrorKind`].

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Shorthand for results with Roadstead's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the words that every adapter shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum ErrorKind {
    /// The node, container, image, path … does not exist.
    NotFound,
    /// The name or id is taken.
    AlreadyExists,
    /// The resource is in a state in which this cannot be done.
    Conflict,
    /// The resource is not as the caller said that it must be for this to be done; nothing was done.
    PreconditionFailed,
    /// The caller's input is wrong; the message names the field.
    InvalidInput,
    /// No valid identity was given, to us or by us to the engine.
    Unauthenticated,
    /// The identity is known and may not do this.
    PermissionDenied,
    /// This engine cannot do this; nothing was sent to it.
    Unsupported,
    /// The engine cannot be reached, went away, or says that it is not ready.
    Unavailable,
    /// The answer did not come in time.
    DeadlineExceeded,
    /// A limit was reached: memory, disk, quota, number of requests.
    ResourceExhausted,
    /// The caller or the server ended the work.
    Cancelled,
    /// Anything else: an answer that makes no sense, a defect.
    Unexpected,
}

impl ErrorKind {
    /// Every kind, in the order of [`TABLE`].
    pub const ALL: [ErrorKind; 13] = [
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::Conflict,
        ErrorKind::PreconditionFailed,
        ErrorKind::InvalidInput,
        ErrorKind::Unauthenticated,
        ErrorKind::PermissionDenied,
        ErrorKind::Unsupported,
        ErrorKind::Unavailable,
        ErrorKind::DeadlineExceeded,
        ErrorKind::ResourceExhausted,
        ErrorKind::Cancelled,
        ErrorKind::Unexpected,
    ];

    /// The row of [`TABLE`] for this kind.
    #[must_use]
    pub const fn row(self) -> &'static ErrorRow {
        // The match is what makes the table total: a new kind does not compile without its row.
        match self {
            ErrorKind::NotFound => &TABLE[0],
            ErrorKind::AlreadyExists => &TABLE[1],
            ErrorKind::Conflict => &TABLE[2],
            ErrorKind::PreconditionFailed => &TABLE[3],
            ErrorKind::InvalidInput => &TABLE[4],
            ErrorKind::Unauthenticated => &TABLE[5],
            ErrorKind::PermissionDenied => &TABLE[6],
            ErrorKind::Unsupported => &TABLE[7],
            ErrorKind::Unavailable => &TABLE[8],
            ErrorKind::DeadlineExceeded => &TABLE[9],
            ErrorKind::ResourceExhausted => &TABLE[10],
            ErrorKind::Cancelled => &TABLE[11],
            ErrorKind::Unexpected => &TABLE[12],
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().code)
    }
}

/// How one [`ErrorKind`] appears in each adapter.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ErrorRow {
    /// The kind that this row is about.
    pub kind: ErrorKind,
    /// The stable `code` of a problem document, and the end of its `type`.
    pub code: &'static str,
    /// The `title` of a problem document.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The Python exception class in `roadstead`.
    pub python: &'static str,
    /// The built-in Python exception that the class also derives from.
    pub python_builtin: &'static str,
    /// The exit code of the command line.
    pub exit_code: u8,
}

/// The one table: kind ↔ HTTP status ↔ problem type ↔ Python exception ↔ exit code.
pub const TABLE: [ErrorRow; 13] = [
    row(ErrorKind::NotFound, "not_found", "Not found", 404, "NotFoundError", "LookupError", 1),
    row(ErrorKind::AlreadyExists, "already_exists", "Already exists", 409, "AlreadyExistsError", "ValueError", 1),
    row(ErrorKind::Conflict, "conflict", "Conflicting state", 409, "ConflictError", "RuntimeError", 1),
    row(
        ErrorKind::PreconditionFailed,
        "precondition_failed",
        "Precondition failed",
        412,
        "PreconditionFailedError",
        "RuntimeError",
        1,
    ),
    row(ErrorKind::InvalidInput, "invalid_input", "Invalid input", 400, "InvalidInputError", "ValueError", 2),
    row(
        ErrorKind::Unauthenticated,
        "unauthenticated",
        "No valid identity",
        401,
        "UnauthenticatedError",
        "PermissionError",
        1,
    ),
    row(
        ErrorKind::PermissionDenied,
        "permission_denied",
        "Permission denied",
        403,
        "PermissionDeniedError",
        "PermissionError",
        1,
    ),
    row(
        ErrorKind::Unsupported,
        "unsupported",
        "Not supported by this engine",
        501,
        "UnsupportedError",
        "NotImplementedError",
        1,
    ),
    row(ErrorKind::Unavailable, "unavailable", "Engine unavailable", 503, "UnavailableError", "ConnectionError", 1),
    row(
        ErrorKind::DeadlineExceeded,
        "deadline_exceeded",
        "Deadline exceeded",
        504,
        "DeadlineExceededError",
        "TimeoutError",
        1,
    ),
    row(
        ErrorKind::ResourceExhausted,
        "resource_exhausted",
        "Resource exhausted",
        429,
        "ResourceExhaustedError",
        "RuntimeError",
        1,
    ),
    row(ErrorKind::Cancelled, "cancelled", "Cancelled", 499, "CancelledError", "RuntimeError", 1),
    row(ErrorKind::Unexpected, "unexpected", "Unexpected error", 500, "UnexpectedError", "RuntimeError", 1),
];

const fn row(
    kind: ErrorKind,
    code: &'static str,
    title: &'static str,
    status: u16,
    python: &'static str,
    python_builtin: &'static str,
    exit_code: u8,
) -> ErrorRow {
    ErrorRow { kind, code, title, status, python, python_builtin, exit_code }
}

/// Whether a caller may repeat the call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum Retry {
    /// The same call will fail the same way.
    Never,
    /// Nothing was changed: the call may be repeated as it is.
    Safe,
    /// The write may have happened; look before repeating it.
    Unknown,
}

/// What failed, where, why, and whether trying again is wise.
///
/// `Display` is one line that a person can act on; `Debug` shows everything, over several lines.
/// The context never holds a secret: whoever adds to it keeps [`crate::Secret`] values out.
#[derive(thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    operation: Option<&'static str>,
    node: Option<String>,
    resource: Option<String>,
    field: Option<String>,
    retry: Retry,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.operation {
            write!(f, "{operation}")?;
            if let Some(resource) = &self.resource {
                write!(f, " {resource}")?;
            }
            if let Some(node) = &self.node {
                write!(f, " on {node}")?;
            }
            f.write_str(": ")?;
        }
        if self.message.is_empty() { f.write_str(self.kind.row().title) } else { f.write_str(&self.message) }
    }
}

impl StdError for Inner {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        writeln!(f, "{inner}")?;
        writeln!(f, "  kind: {}", inner.kind)?;
        writeln!(f, "  retry: {:?}", inner.retry)?;
        if let Some(field) = &inner.field {
            writeln!(f, "  field: {field}")?;
        }
        for (key, value) in &inner.context {
            writeln!(f, "  {key}: {value}")?;
        }
        let mut source = StdError::source(&**inner);
        while let Some(cause) = source {
            writeln!(f, "  caused by: {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl Error {
    /// An error of `kind` with one line for a person.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        // The advice that is right when nothing more is known; an engine that knows better says so.
        let retry = match kind {
            ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::Cancelled | ErrorKind::Unexpected => {
                Retry::Unknown
            }
            ErrorKind::ResourceExhausted => Retry::Safe,
            _ => Retry::Never,
        };
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            operation: None,
            node: None,
            resource: None,
            field: None,
            retry,
            context: Vec::new(),
            source: None,
        }))
    }

    /// The same error for one more who waited for the same, without its cause, which only one can have.
    #[must_use]
    pub fn repeated(&self) -> Self {
        let Inner { kind, message, operation, node, resource, field, retry, context, source: _ } = &*self.0;
        Error(Box::new(Inner {
            kind: *kind,
            message: message.clone(),
            operation: *operation,
            node: node.clone(),
            resource: resource.clone(),
            field: field.clone(),
            retry: *retry,
            context: context.clone(),
            source: None,
        }))
    }

    /// [`ErrorKind::InvalidInput`] that names the field at fault.
    #[must_use]
    pub fn invalid(field: impl Into<String>, reason: impl fmt::Display) -> Self {
        let field = field.into();
        let mut error = Error::new(ErrorKind::InvalidInput, format!("{field}: {reason}"));
        error.0.field = Some(field);
        error
    }

    /// [`ErrorKind::Unsupported`]: the engine cannot do `what`.
    #[must_use]
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Error::new(ErrorKind::Unsupported, format!("this engine does not support {what}"))
    }

    /// [`ErrorKind::Unsupported`] that names the field of the input which asks for `what`.
    #[must_use]
    pub fn unsupported_field(field: impl Into<String>, what: impl fmt::Display) -> Self {
        let field = field.into();
        let mut error = Error::new(ErrorKind::Unsupported, format!("{field}: this engine does not support {what}"));
        error.0.field = Some(field);
        error
    }

    /// [`ErrorKind::NotFound`] for a resource such as `container web`.
    #[must_use]
    pub fn not_found(what: &str, id: &str) -> Self {
        Error::new(ErrorKind::NotFound, format!("no such {what}: {id}")).with_resource(id)
    }

    /// Names the operation, for example `container.start`; an operation that is already named stays.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Names the node; a node that is already named stays.
    #[must_use]
    pub fn with_node(mut self, node: impl Into<String>) -> Self {
        self.0.node.get_or_insert_with(|| node.into());
        self
    }

    /// Names the resource; a resource that is already named stays.
    #[must_use]
    pub fn with_resource(mut self, resource: impl Into<String>) -> Self {
        self.0.resource.get_or_insert_with(|| resource.into());
        self
    }

    /// Names the field of the input at fault; a field that is already named stays.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.0.field.get_or_insert_with(|| field.into());
        self
    }

    /// Sets the advice on repeating the call.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Adds a fact that helps to find the cause. Never a secret.
    #[must_use]
    pub fn with_context(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.context.push((key, value.into()));
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The line for a person, without operation and node.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The operation that failed, for example `container.start`.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The node on which it failed.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.0.node.as_deref()
    }

    /// The container, image, network … that the operation was about.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.0.resource.as_deref()
    }

    /// The input field at fault: always for [`ErrorKind::InvalidInput`], and for [`ErrorKind::Unsupported`] where it is one
    /// member of the input that the engine cannot do.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// Whether the call may be repeated.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Further facts, in the order in which they were added.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(key, value)| (*key, value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_total_and_each_row_is_in_its_place() {
        for (kind, row) in ErrorKind::ALL.iter().zip(&TABLE) {
            assert_eq!(row.kind, *kind);
            assert_eq!(kind.row().kind, *kind);
            assert!((400..600).contains(&row.status), "{kind}: {}", row.status);
            assert!(row.exit_code == 1 || row.exit_code == 2);
            assert_eq!(serde_json::to_value(kind).unwrap(), row.code, "serde and table agree on {kind}");
        }
        let mut codes: Vec<_> = TABLE.iter().map(|row| row.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorKind::ALL.len(), "codes are distinct");
        let mut classes: Vec<_> = TABLE.iter().map(|row| row.python).collect();
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), ErrorKind::ALL.len(), "Python classes are distinct");
    }

    #[test]
    fn display_is_one_line_and_debug_names_everything() {
        let error = Error::invalid("limits.memory_bytes", "must be at least 6 MiB")
            .with_operation("node.create_container")
            .with_node("local")
            .with_context("engine_status", "400")
            .with_source(std::io::Error::other("cause"));
        assert_eq!(error.to_string(), "node.create_container on local: limits.memory_bytes: must be at least 6 MiB");
        let debug = format!("{error:?}");
        for part in ["invalid_input", "Never", "limits.memory_bytes", "engine_status: 400", "caused by: cause"] {
            assert!(debug.contains(part), "{part} is missing in {debug}");
        }
        assert_eq!(error.with_operation("later").operation(), Some("node.create_container"));
        let lacking = Error::unsupported_field("init", "an init process");
        assert_eq!((lacking.kind(), lacking.field()), (ErrorKind::Unsupported, Some("init")));
        assert_eq!(lacking.message(), "init: this engine does not support an init process");
    }
}
