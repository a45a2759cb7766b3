//! Which interfaces of the machine are the near ends of those of containers and virtual machines.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use roadstead_core::NetworkStats;

use super::files::scan::lines;

/// What is known of each interface by its name.
#[derive(Debug, Default)]
pub(super) struct Guests(HashMap<String, bool>);

impl Guests {
    /// Looks again at those that were none: an interface may be seen before whoever makes it has put it in its place.
    pub(super) fn look_again(&mut self) {
        self.0.retain(|_, is_of_guest| *is_of_guest);
    }

    /// Says of each interface whether it is one, and forgets those that are gone. `root` is `/sys/class/net`, where each is looked
    /// at once, since that costs more than all counters together.
    pub(super) fn mark(&mut self, root: &Path, nics: &mut [NetworkStats]) {
        for nic in &mut *nics {
            nic.of_guest = match self.0.get(&nic.name) {
                Some(known) => *known,
                None => {
                    let found = is_of_guest(root, &nic.name);
                    self.0.insert(nic.name.clone(), found);
                    found
                }
            };
        }
        if self.0.len() > nics.len() {
            self.0.retain(|name, _| nics.iter().any(|nic| nic.name == *name));
        }
    }
}

/// One that has no hardware and is of no kind that has a name of its own (as `bridge`, `vlan` and `wlan` have; veth and tap have
/// none), and is a port of a bridge without lying over another interface. Where containers are routed and not bridged it is known by
/// its name alone: its other end has a number of another network, which says nothing here, and in a container that this runs in, the
/// own interface has one, too, but is called otherwise.
fn is_of_guest(root: &Path, name: &str) -> bool {
    let directory = root.join(name);
    let is_there = |file: &str| directory.join(file).symlink_metadata().is_ok();
    let lies_over_another = || {
        let mut entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        entries.any(|entry| entry.file_name().as_encoded_bytes().starts_with(b"lower_"))
    };
    let about = fs::read(directory.join("uevent")).unwrap_or_default();
    if is_there("device") || lines(&about).any(|line| line.starts_with(b"DEVTYPE=")) {
        return false;
    }
    name.starts_with("veth") || (is_there("master") && !lies_over_another())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nics(names: &[&str]) -> Vec<NetworkStats> {
        let nic = |name: &&str| {
            let mut nic = NetworkStats::default();
            (*name).clone_into(&mut nic.name);
            nic
        };
        names.iter().map(nic).collect()
    }

    fn marked(guests: &mut Guests, root: &Path, names: &[&str]) -> Vec<String> {
        let mut nics = nics(names);
        guests.mark(root, &mut nics);
        nics.into_iter().filter(|nic| nic.of_guest).map(|nic| nic.name).collect()
    }

    #[test]
    fn ends_of_guests_are_told_from_what_is_the_machines() {
        let root = tempfile::tempdir().unwrap();
        // Name, kind, and what else there is in its directory.
        let all: [(&str, &str, &[&str]); 11] = [
            ("lo", "", &[]),
            ("eth0", "", &["device"]),
            ("eth1", "", &["device", "master"]),
            ("docker0", "bridge", &["lower_veth1a2b"]),
            ("team0", "", &["lower_eth0", "master"]),
            ("eth0.7", "vlan", &["lower_eth0", "master"]),
            ("wg0", "wireguard", &[]),
            // The own interface of a container that this runs in.
            ("net1", "", &[]),
            ("veth1a2b", "", &["master"]),
            ("vethrouted", "", &[]),
            ("tap3c4d", "", &["master"]),
        ];
        for (name, kind, there) in all {
            let directory = root.path().join(name);
            fs::create_dir(&directory).unwrap();
            let kind = if kind.is_empty() { String::new() } else { format!("DEVTYPE={kind}\n") };
            fs::write(directory.join("uevent"), format!("{kind}INTERFACE={name}\nIFINDEX=7\n")).unwrap();
            there.iter().for_each(|file| fs::write(directory.join(file), "").unwrap());
        }
        let names = all.map(|(name, ..)| name);
        let mut guests = Guests::default();
        assert_eq!(marked(&mut guests, root.path(), &names), ["veth1a2b", "vethrouted", "tap3c4d"]);
        // What is known is not looked at again, and what is gone is forgotten.
        fs::remove_dir_all(root.path().join("tap3c4d")).unwrap();
        assert_eq!(marked(&mut guests, root.path(), &["tap3c4d", "lo"]), ["tap3c4d"]);
        assert_eq!(guests.0.len(), 2);
        assert!(marked(&mut guests, root.path(), &["lo"]).is_empty());
        assert!(marked(&mut guests, root.path(), &["tap3c4d"]).is_empty());
    }

    #[test]
    fn one_that_is_put_in_its_place_later_is_found() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("tap0");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("uevent"), "INTERFACE=tap0\nIFINDEX=3\n").unwrap();
        let mut guests = Guests::default();
        assert!(marked(&mut guests, root.path(), &["tap0"]).is_empty());
        fs::write(directory.join("master"), "").unwrap();
        assert!(marked(&mut guests, root.path(), &["tap0"]).is_empty());
        guests.look_again();
        assert_eq!(marked(&mut guests, root.path(), &["tap0"]), ["tap0"]);
        // Where `/sys` shows another network, there are the names alone.
        assert_eq!(marked(&mut guests, Path::new("/nowhere"), &["eth0", "veth0"]), ["veth0"]);
    }
}
