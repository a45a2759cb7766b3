//! Where file systems are mounted: `/proc/PID/mountinfo`. Source: proc(5) and `mangle` in fs/seq_file.c of the kernel.
//!
//! A path may have anything in it; a mount that somebody made at an odd place hides no other.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::scan::lines;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Mounted {
    /// `major:minor`: the same for every place where a file system is mounted.
    pub(in crate::host) device: String,
    /// Which part of the file system is seen there.
    pub(in crate::host) root: String,
    pub(in crate::host) point: PathBuf,
    /// Of the place: `rw`, `nosuid`, `a=b` …
    pub(in crate::host) options: Vec<String>,
    pub(in crate::host) kind: String,
    /// Absent where it is `none`.
    pub(in crate::host) source: Option<String>,
    /// Of the file system; the controllers of a hierarchy of version 1 are among them.
    pub(in crate::host) super_options: Vec<String>,
}

/// All of them; lines that make no sense are passed over.
pub(in crate::host) fn mounts(text: &[u8]) -> impl Iterator<Item = Mounted> {
    lines(text).filter_map(|line| {
        // By single blanks: a source may be empty.
        let mut fields = line.split(|byte| *byte == b' ').skip(2);
        let (device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
        let options = fields.next()?;
        // Optional fields, as many as there are.
        fields.find(|field| *field == b"-")?;
        let (kind, source, super_options) = (fields.next()?, fields.next()?, fields.next()?);
        let list = |options: &[u8]| options.split(|byte| *byte == b',').map(word).collect();
        Some(Mounted {
            device: word(device),
            root: word(root),
            point: OsString::from_vec(unescaped(point)).into(),
            options: list(options),
            kind: word(kind),
            source: Some(word(source)).filter(|source| !matches!(source.as_str(), "none" | "")),
            super_options: list(super_options),
        })
    })
}

fn word(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescaped(field)).into_owned()
}

/// Blanks, ends of lines and backslashes stand in these files as `\040` and so on.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let (byte, left) = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', left @ ..] => {
                (((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'), left)
            }
            _ => (*first, after),
        };
        bytes.push(byte);
        rest = left;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn places_may_have_anything_in_them() {
        let text = b"36 35 98:0 /a\\040b /mnt/x\\040\\134y\\012 rw,noatime master:1 - ext3 /dev/sda\\0401 rw,errors=continue\n\
            broken line\n37 35 0:9 / /\xff rw - tmpfs none rw\n38 35 0:10 / /e rw shared:1 unbindable - tmpfs  rw\n";
        let found: Vec<_> = mounts(text).collect();
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].root.as_str(), found[0].point.as_path()), ("/a b", Path::new("/mnt/x \\y\n")));
        assert_eq!(
            (found[0].options.as_slice(), found[0].source.as_deref()),
            (&["rw".to_owned(), "noatime".to_owned()][..], Some("/dev/sda 1"))
        );
        assert_eq!(found[0].super_options, ["rw", "errors=continue"]);
        assert_eq!(found[1].point.as_os_str().as_encoded_bytes(), b"/\xff");
        assert_eq!((&found[1].source, &found[2].source, found[2].kind.as_str()), (&None, &None, "tmpfs"));
        assert_eq!(unescaped(b"\\04\\400\\08\\"), b"\\04\\400\\08\\");
    }

    #[test]
    fn this_very_process() {
        let own = std::fs::read("/proc/self/mountinfo").unwrap();
        assert!(mounts(&own).any(|mount| mount.point == Path::new("/")));
    }
}
