//! Writes what every fuzz target begins with below the directory that is named: fixtures, and files of this machine.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Of one kind of file so many are enough.
const MOST: usize = 64;

fn main() -> io::Result<()> {
    let corpus = std::env::args().nth(1).ok_or_else(|| io::Error::other("which directory?"))?;
    for target in roadstead_backends::fuzzing::targets() {
        let directory = Path::new(&corpus).join(target.name);
        fs::create_dir_all(&directory)?;
        let paths = target.here.iter().flat_map(|path| expanded(path).into_iter().take(MOST));
        // What cannot be read is not there, or has just ended.
        let here = paths.filter_map(|path| fs::read(path).ok());
        let seeds: BTreeSet<Vec<u8>> = target.seeds.iter().map(|seed| seed.to_vec()).chain(here).collect();
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(directory.join(format!("seed-{number}")), seed)?;
        }
        println!("{}: {}", target.name, seeds.len());
    }
    Ok(())
}

/// The paths that one with `*` for any name stands for.
fn expanded(path: &str) -> Vec<PathBuf> {
    let mut all = vec![PathBuf::from("/")];
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let below = |above: &PathBuf| match part {
            "*" => fs::read_dir(above).into_iter().flatten().flatten().map(|entry| entry.path()).collect(),
            _ => vec![above.join(part)],
        };
        all = all.iter().flat_map(below).filter(|path| path.exists()).collect();
    }
    all
}
