use super::*;

const PRINT: &str = "d40e52752241c48372cbe9f1eb7085d811ef05a01db896abd5b674c3b2284982";

fn parse(uri: &str) -> Result<Target> {
    Target::of(&uri.parse().unwrap(), &ConnectOptions::default())
}

#[test]
fn usual_uris_name_their_servers() {
    let unix = parse("lxd+unix:///var/lib/lxd/unix.socket?project=a b".replace(' ', "%20").as_str()).unwrap();
    assert!(matches!(&unix.way, Way::Unix(path) if path == Path::new("/var/lib/lxd/unix.socket")));
    assert_eq!(unix.project.as_deref(), Some("a b"));
    assert_eq!(unix.uri(), "lxd+unix:///var/lib/lxd/unix.socket?project=a%20b");
    let https = parse(&format!("incus+https://[::1]?fingerprint={PRINT}")).unwrap();
    assert!(matches!(&https.way, Way::Https { host, port: 8443, .. } if host == "::1"));
    assert_eq!(https.uri(), format!("incus+https://[::1]:8443?fingerprint={PRINT}"));
    assert_eq!(parse("lxd+https://h").unwrap().trust, Trust::System);
    assert_eq!(parse("lxd+https://h?trust=first-use").unwrap().trust, Trust::FirstUse);
}

#[test]
fn a_uri_that_is_shown_leads_to_the_same_server() {
    for uri in
        ["lxd+unix:///a%20b/unix.socket", "lxd+https://h:1", &format!("lxd+https://h:1?fingerprint={PRINT}&project=p")]
    {
        assert_eq!(parse(uri).unwrap().uri(), *uri);
    }
}

#[test]
fn secrets_are_not_shown() {
    let target = parse(&format!("lxd+https://h?fingerprint={PRINT}&trust_password=hunter2")).unwrap();
    assert!(matches!(&target.proof, Some(Proof::Password(secret)) if secret.expose() == "hunter2"));
    assert!(!format!("{} {target:?}", target.uri()).contains("hunter2"));
}

#[test]
fn uris_that_make_no_sense_are_invalid_input() {
    let both = format!("lxd+https://h?fingerprint={PRINT}&trust=first-use");
    for uri in [
        "lxd+unix:",
        "lxd+unix:///",
        "lxd+unix://host/unix.socket",
        "lxd+unix:///x?fingerprint=1",
        "lxd+https:",
        "lxd+https://h/path",
        "lxd+https://me@h",
        "lxd+https://h?fingerprint=12",
        "lxd+https://h?trust=always",
        "lxd+https://h?verify=false",
        "lxd+https://h?server_certificate=/nowhere",
        "lxd+https://h?authority=/nowhere",
        "lxd+https://h?key=/nowhere",
        "lxd+https://h?certificate=/nowhere",
        "lxd+https://h?token=a&trust_password=b",
        "lxd+https://a_b%20c",
        "lxd://host",
        "incus:a/b",
        "incus:x?trust=first-use",
        both.as_str(),
    ] {
        let error = parse(uri).err().unwrap_or_else(|| panic!("{uri} was taken"));
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{uri}: {error}");
    }
}

#[test]
fn who_is_not_trusted_is_told_the_file_the_fingerprint_and_the_step() {
    let mut target = parse("incus+https://h").unwrap();
    assert!(target.untrusted().message().contains("certificate=FILE"));
    let directory = tempfile::tempdir().unwrap();
    let certificate = directory.path().join("client.crt");
    std::fs::write(&certificate, include_str!("../fixtures/client.crt")).unwrap();
    target.identity = Some(Identity { certificate: certificate.clone(), key: "/k".into() });
    let error = target.untrusted();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let print = include_str!("../fixtures/client.fingerprint").trim().replace(':', "").to_lowercase();
    let path = certificate.display().to_string();
    for part in [path.as_str(), print.as_str(), "incus config trust add-certificate"] {
        assert!(error.message().contains(part), "{part} is missing in {error}");
    }
}
