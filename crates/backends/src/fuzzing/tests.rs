//! Every target over its fixtures, and over what is near them; and whether the fuzz package has all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::{Target, run, targets};

/// What is put in the place of a byte: signs that part fields and lines, and what does not belong there.
const STRANGE: &[u8] = b"\n 0:9/(\0\\,-x\xff";

/// Does this with each of them, and fails when any did, so that all that is wrong is told at once.
fn with_each(mut drive: impl FnMut(&Target)) {
    let mut wrong = Vec::new();
    for target in targets() {
        if catch_unwind(AssertUnwindSafe(|| drive(&target))).is_err() {
            wrong.push(target.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn fixtures_and_every_cut_of_them() {
    with_each(|target| {
        assert!(!target.seeds.is_empty(), "{}", target.name);
        for seed in target.seeds {
            for length in 0..=seed.len() {
                run(target.name, &seed[..length]);
                run(target.name, &seed[length..]);
            }
        }
    });
}

#[test]
fn fixtures_with_a_byte_changed() {
    with_each(|target| {
        for (count, seed) in target.seeds.iter().enumerate() {
            for at in 0..seed.len() {
                let mut bytes = seed.to_vec();
                bytes[at] ^= 1 << (at % 8);
                run(target.name, &bytes);
                bytes[at] = STRANGE[(at + count) % STRANGE.len()];
                run(target.name, &bytes);
                bytes.remove(at);
                run(target.name, &bytes);
            }
        }
    });
}

#[test]
fn any_bytes() {
    // The same ones each time (Marsaglia's xorshift).
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    with_each(|target| {
        for _ in 0..200 {
            let length = next() % 300;
            let bytes: Vec<u8> = (0..length).map(|_| next().to_le_bytes()[3]).collect();
            run(target.name, &bytes);
        }
    });
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// Its own parser of answers is driven by another package's test.
const OTHERS: [&str; 1] = ["core0_answers"];

#[cfg(all(feature = "lxd", feature = "core0"))]
#[test]
fn the_fuzz_package_has_all_of_them() {
    let expected: BTreeSet<String> =
        targets().iter().map(|target| target.name).chain(OTHERS).map(str::to_owned).collect();
    assert_eq!(expected.len(), targets().len() + OTHERS.len(), "no name is there twice");
    let manifest = read("fuzz/Cargo.toml");
    let listed: BTreeSet<String> = manifest
        .split("[[bin]]")
        .skip(1)
        .map(|section| {
            let name = section.split('"').nth(1).unwrap().to_owned();
            assert!(section.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{section}");
            name
        })
        .collect();
    assert_eq!(listed, expected);
    let files = fs::read_dir(repository().join("fuzz/fuzz_targets")).unwrap();
    let files: BTreeSet<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(files, expected);
    let readme = read("fuzz/README.md");
    for Target { name, reads, .. } in targets() {
        let program = read(&format!("fuzz/fuzz_targets/{name}.rs"));
        assert!(program.contains(&format!("roadstead_backends::fuzzing::run(\"{name}\", bytes)")), "{program}");
        assert!(readme.contains(&format!("\n| `{name}` | {reads} |\n")), "{name} in fuzz/README.md");
    }
    let rows = readme.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, expected.len(), "fuzz/README.md has nothing that is not there");
}

#[cfg(all(feature = "lxd", feature = "core0"))]
#[test]
fn every_parser_has_one_target() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    for directory in ["host", "host/files", "host/sampler"] {
        for file in fs::read_dir(sources.join(directory)).unwrap().map(|entry| entry.unwrap().path()) {
            // What all parsers are made of is no parser.
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            if file.extension().is_none_or(|extension| extension != "rs") || name == "scan" {
                continue;
            }
            for function in functions(&fs::read_to_string(&file).unwrap(), directory == "host/files") {
                found.insert(format!("{directory}/{name}::{function}"), 0);
            }
        }
    }
    assert!(found.len() > 20, "{found:?}");
    for parser in targets().iter().flat_map(|target| target.parsers) {
        let (file, function) = parser.split_once("::").unwrap();
        let text = fs::read_to_string(sources.join(format!("{file}.rs"))).unwrap();
        let name = function.rsplit("::").next().unwrap();
        assert!(text.contains(&format!("fn {name}(")), "{parser} is not there any more");
        *found.entry((*parser).to_owned()).or_default() += 1;
    }
    let wrong: Vec<_> = found.iter().filter(|(_, count)| **count != 1).collect();
    assert!(wrong.is_empty(), "each is to be reached by one target: {wrong:?}");
}

/// The functions of a source that take the text of a file; where `all`, those that others see.
fn functions(source: &str, all: bool) -> Vec<String> {
    let mut of = None;
    let mut functions = Vec::new();
    let source = source.split("#[cfg(test)]").next().unwrap();
    for line in source.lines() {
        if let Some(name) = line.strip_prefix("impl ") {
            of = name.split([' ', '<']).next();
        } else if line == "}" {
            of = None;
        }
        let Some((before, after)) = line.split_once("fn ") else { continue };
        let Some((name, arguments)) = after.split_once('(') else { continue };
        if (all && before.trim() == "pub(in crate::host)") || arguments.starts_with("text: &") {
            functions.push(of.map_or(name.to_owned(), |of| format!("{of}::{name}")));
        }
    }
    functions
}
