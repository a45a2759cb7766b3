//! The offer with which a source begins a migration, and what is taken out of it when the target would refuse it.
//!
//! It is a protocol buffer (`MigrationHeader` of LXD and Incus): field 5 holds the snapshots, each with its configuration
//! in field 2 (key and value in fields 1 and 2), the names of its profiles in field 3 and its devices in field 5. What has
//! a name has it in field 1. What is not understood is left as it is, byte for byte.

use bytes::Bytes;

use super::original::Strange;

const SNAPSHOTS: u64 = 5;
const SNAPSHOT_CONFIG: u64 = 2;
const SNAPSHOT_PROFILES: u64 = 3;
const SNAPSHOT_DEVICES: u64 = 5;
const NAME: u64 = 1;
/// Wire type of what has a length.
const DELIMITED: u64 = 2;

/// The offer without what is strange to the target. An offer that is not understood stays as it is.
pub(super) fn without(offer: Bytes, strange: &[Strange]) -> Bytes {
    rewritten(&offer, |field, content| match field {
        SNAPSHOTS => snapshot(content, strange).map_or(Verdict::Keep, Verdict::Replace),
        _ => Verdict::Keep,
    })
    .map_or(offer, Bytes::from)
}

fn snapshot(bytes: &[u8], strange: &[Strange]) -> Option<Vec<u8>> {
    rewritten(bytes, |field, content| {
        let strange = match field {
            SNAPSHOT_CONFIG => strange.iter().any(|what| matches!(what, Strange::Key(key) if has_name(content, key))),
            SNAPSHOT_DEVICES => strange.iter().any(|what| match what {
                Strange::Device { snapshot, device } => has_name(bytes, snapshot) && has_name(content, device),
                _ => false,
            }),
            SNAPSHOT_PROFILES => {
                strange.iter().any(|what| matches!(what, Strange::Profile(name) if name.as_bytes() == content))
            }
            _ => false,
        };
        if strange { Verdict::Drop } else { Verdict::Keep }
    })
}

fn has_name(message: &[u8], name: &str) -> bool {
    let mut found = false;
    let read = rewritten(message, |field, content| {
        found |= field == NAME && content == name.as_bytes();
        Verdict::Keep
    });
    read.is_some() && found
}

enum Verdict {
    Keep,
    Drop,
    Replace(Vec<u8>),
}

/// The message with each field of the delimited kind as `decide` says; nothing when it is no message.
fn rewritten(message: &[u8], mut decide: impl FnMut(u64, &[u8]) -> Verdict) -> Option<Vec<u8>> {
    let mut result = Vec::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let begin = rest;
        let tag = varint(&mut rest)?;
        let (field, kind) = (tag >> 3, tag & 7);
        if kind == DELIMITED {
            let length = usize::try_from(varint(&mut rest)?).ok()?;
            let content = take(&mut rest, length)?;
            match decide(field, content) {
                Verdict::Keep => {}
                Verdict::Drop => continue,
                Verdict::Replace(content) => {
                    put_varint(&mut result, tag);
                    put_varint(&mut result, content.len() as u64);
                    result.extend_from_slice(&content);
                    continue;
                }
            }
        } else {
            match kind {
                0 => drop(varint(&mut rest)?),
                1 => drop(take(&mut rest, 8)?),
                5 => drop(take(&mut rest, 4)?),
                _ => return None,
            }
        }
        result.extend_from_slice(begin.get(..begin.len() - rest.len())?);
    }
    Some(result)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (content, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(content)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_varint(result: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        result.push(value.to_le_bytes()[0] & 0x7f | 0x80);
        value >>= 7;
    }
    result.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(number: u64, content: &[u8]) -> Vec<u8> {
        let mut result = Vec::new();
        put_varint(&mut result, number << 3 | DELIMITED);
        put_varint(&mut result, content.len() as u64);
        result.extend_from_slice(content);
        result
    }

    fn config(key: &str, value: &str) -> Vec<u8> {
        field(SNAPSHOT_CONFIG, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
    }

    fn offer(parts: &[&[u8]]) -> Bytes {
        // fs = 0 (a number), a name, the snapshot, and a feature.
        let snapshot = field(SNAPSHOTS, &parts.concat());
        Bytes::from([&[8_u8, 0][..], &field(4, b"s1"), &snapshot, &field(8, &[8, 1])].concat())
    }

    #[test]
    fn what_is_strange_goes_and_the_rest_stays() {
        let long = "x".repeat(300);
        let (kept, name, profile) = (config("user.k", &long), field(1, b"s1"), field(SNAPSHOT_PROFILES, b"default"));
        let device = |name: &str| field(SNAPSHOT_DEVICES, &field(1, name.as_bytes()));
        let eth0 = |snapshot: &str| Strange::Device { snapshot: snapshot.into(), device: "eth0".into() };
        let strange = [Strange::Key("volatile.new".into()), Strange::Profile("gone".into()), eth0("s1"), eth0("s2")];
        let before = offer(&[
            &name,
            &config("volatile.new", "user.k"),
            &kept,
            &profile,
            &field(SNAPSHOT_PROFILES, b"gone"),
            &device("eth0"),
            &device("eth1"),
            &[0x20, 0],
        ]);
        assert_eq!(without(before, &strange), offer(&[&name, &kept, &profile, &device("eth1"), &[0x20, 0]]));
        let untouched = offer(&[&name, &kept, &profile]);
        assert_eq!(without(untouched.clone(), &strange), untouched);
    }

    #[test]
    fn what_is_no_offer_stays() {
        for nonsense in [&b"\xff\xff"[..], b"\x2a\x05ab", b"{\"json\": true}", b""] {
            let bytes = Bytes::copy_from_slice(nonsense);
            assert_eq!(without(bytes.clone(), &[Strange::Key("a".into())]), bytes);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_without_a_reason(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            // Canonical messages stay; others may lose the surplus bytes of a length, never a field.
            let once = without(bytes, &[]);
            prop_assert_eq!(without(once.clone(), &[]), once);
        }
    }
}
